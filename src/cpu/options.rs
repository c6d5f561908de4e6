//! What a caller can ask of the CPU device.

use std::fmt;
use std::str::FromStr;

use pulp::Arch;

use crate::error::{Error, Result};

/// How to use the CPU.
///
/// ```
/// use wgpu_rnn::cpu::{CpuDevice, CpuOptions, Instructions};
/// let device = CpuDevice::with_options(&CpuOptions::new().threads(2).instructions(Instructions::Scalar))?;
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuOptions {
    pub(super) threads: Option<usize>,
    pub(super) instructions: Instructions,
}

impl CpuOptions {
    /// rayon's global thread pool, the widest instruction set.
    pub fn new() -> Self {
        Self::default()
    }

    /// As many threads of the device's own. A single one is that which calls: no other is started or waited for.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// The instruction set of the device's own kernels. Results of two sets differ by rounding; on one they are always the same.
    pub fn instructions(mut self, instructions: Instructions) -> Self {
        self.instructions = instructions;
        self
    }
}

/// An instruction set for the CPU device's own kernels: the recurrence both ways, and products with weights.
///
/// Other matrix products (gradients of weights above all) are the `gemm` crate's, which always takes the widest set that it
/// finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Instructions {
    /// The widest that the machine has.
    #[default]
    Widest,
    /// x86's 512-bit vectors.
    Avx512,
    /// x86's 256-bit vectors with fused multiplication and addition.
    Avx2,
    /// ARM's 128-bit vectors.
    Neon,
    /// WebAssembly's 128-bit vectors.
    Simd128,
    /// No vectors but those that the compiler makes of plain code.
    Scalar,
}

impl Instructions {
    /// The sets by name, widest first.
    const NAMED: [Self; 5] = [
        Self::Avx512,
        Self::Avx2,
        Self::Neon,
        Self::Simd128,
        Self::Scalar,
    ];

    /// The sets that this machine has, by name, widest first.
    ///
    /// ```
    /// use wgpu_rnn::cpu::Instructions;
    /// assert!(Instructions::available().contains(&Instructions::Scalar));
    /// ```
    pub fn available() -> Vec<Self> {
        let has = |set: &Self| set.arch().is_some();
        Self::NAMED.into_iter().filter(has).collect()
    }

    /// What dispatches to it, if the machine has it.
    pub(super) fn arch(self) -> Option<Arch> {
        match self {
            Self::Widest => Some(Arch::new()),
            Self::Scalar => Some(Arch::Scalar),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Self::Avx512 => pulp::x86::V4::try_new().map(Arch::V4),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Self::Avx2 => pulp::x86::V3::try_new().map(Arch::V3),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().map(Arch::Neon),
            #[cfg(target_arch = "wasm32")]
            Self::Simd128 => pulp::wasm::Simd128::try_new().map(Arch::Simd128),
            _ => None,
        }
    }

    /// What dispatches to it.
    ///
    /// # Errors
    /// [`Error::Option`] if the machine does not have it.
    pub(super) fn require(self) -> Result<Arch> {
        self.arch().ok_or_else(|| {
            let names: Vec<String> = Self::available().iter().map(Self::to_string).collect();
            let names = names.join(", ");
            Error::option(
                "instructions",
                format!("this machine has no {self}; it has {names}"),
            )
        })
    }
}

impl FromStr for Instructions {
    type Err = Error;

    /// From `widest`, `avx512`, `avx2`, `neon`, `simd128` or `scalar`.
    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "widest" => Self::Widest,
            "avx512" => Self::Avx512,
            "avx2" => Self::Avx2,
            "neon" => Self::Neon,
            "simd128" => Self::Simd128,
            "scalar" => Self::Scalar,
            _ => {
                return Err(Error::option(
                    "instructions",
                    format!("`{name}` is none of widest, avx512, avx2, neon, simd128, scalar"),
                ));
            }
        })
    }
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Widest => "widest instructions",
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2",
            Self::Neon => "NEON",
            Self::Simd128 => "SIMD128",
            Self::Scalar => "scalar instructions",
        })
    }
}
