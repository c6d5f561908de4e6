//! The crate's one error type: each variant says what was asked, what was expected and what came.

/// Everything that can go wrong, as a value: no call of this crate panics on bad input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration option cannot be served, alone or together with another one.
    #[error("option `{option}`: {reason}")]
    Option {
        /// The builder method that set it.
        option: &'static str,
        /// Why it is refused, and what would be accepted.
        reason: String,
    },
    /// A tensor's shape or length is not what the configuration and the batch ask for.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// The tensor or argument.
        what: String,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
    /// A size computed from the arguments does not fit the address space or the device's index type.
    #[error("{what} overflows: {detail}")]
    Overflow {
        /// The size that was being computed.
        what: &'static str,
        /// Its factors.
        detail: String,
    },
    /// A size is within bounds but exceeds a limit of the chosen adapter.
    #[error("{what} needs {needed}, the adapter's limit is {limit}: {advice}")]
    Limit {
        /// The resource.
        what: String,
        /// How much is needed.
        needed: u64,
        /// How much the adapter offers.
        limit: u64,
        /// What the caller can change.
        advice: &'static str,
    },
    /// No adapter, or none that matches what was asked for.
    #[error("no usable GPU adapter: {detail}. {advice}")]
    NoAdapter {
        /// What was looked for and what is there.
        detail: String,
        /// What to install or to set.
        advice: &'static str,
    },
    /// The device was lost while or before the call ran; its buffers are gone.
    #[error("the GPU device was lost: {0}")]
    DeviceLost(String),
    /// The device could not allocate memory.
    #[error("the device is out of memory: {0}")]
    OutOfMemory(String),
    /// The device refused a call; this is a defect of this crate or of the driver.
    #[error("the GPU device reported: {0}")]
    Device(String),
    /// Values cannot be what they are given as: a score that is not a number, a label outside its range, windows that
    /// overlap.
    #[error("{what}: expected {expected}, got {got}")]
    Data {
        /// The values, and where the first bad one is.
        what: String,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
    /// A file could not be read or written.
    #[error("`{}`: cannot {doing}: {detail}", path.display())]
    File {
        /// The file or directory.
        path: std::path::PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The system's kind of error.
        kind: std::io::ErrorKind,
        /// The system's words.
        detail: String,
    },
    /// A checkpoint could not be understood, or belongs to something else.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// A weight file could not be understood.
    #[error("weight file: {0}")]
    Format(String),
    /// A call came out of order, such as `backward` before `forward`.
    #[error("{0}")]
    State(&'static str),
    /// A gradient was infinite or NaN, and the optimizer was told to halt then.
    #[error(
        "a gradient was infinite or NaN at step {step}; nothing was changed from there on. Lower the learning rate, clip the \
         gradients, or let such steps be skipped"
    )]
    NonFinite {
        /// The step that would have been taken, from 1.
        step: u64,
    },
    /// An operation of the user's own cannot be run as it is.
    #[error("operation `{operation}`: {reason}")]
    Operation {
        /// Its kernel's name.
        operation: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A buffer of another device was passed to this one.
    #[error("buffer `{0}` belongs to another device")]
    ForeignBuffer(String),
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn shape(
        what: impl Into<String>,
        expected: impl ToString,
        got: impl ToString,
    ) -> Self {
        Self::Shape {
            what: what.into(),
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }

    pub(crate) fn data(
        what: impl Into<String>,
        expected: impl ToString,
        got: impl ToString,
    ) -> Self {
        Self::Data {
            what: what.into(),
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }

    pub(crate) fn file(
        path: &std::path::Path,
        doing: &'static str,
        error: &std::io::Error,
    ) -> Self {
        Self::File {
            path: path.to_owned(),
            doing,
            kind: error.kind(),
            detail: error.to_string(),
        }
    }

    pub(crate) fn option(option: &'static str, reason: impl Into<String>) -> Self {
        Self::Option {
            option,
            reason: reason.into(),
        }
    }
}

/// The product of `factors`, or [`Error::Overflow`] naming `what`.
pub(crate) fn checked_product(what: &'static str, factors: &[usize]) -> Result<usize> {
    factors
        .iter()
        .try_fold(1usize, |product, &factor| product.checked_mul(factor))
        .filter(|&product| product <= u32::MAX as usize)
        .ok_or_else(|| Error::Overflow {
            what,
            detail: factors
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(" x "),
        })
}

/// An empty vector with room for `len` elements, or [`Error::OutOfMemory`].
pub(crate) fn with_room<T>(label: &str, len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(len)
        .map_err(|error| Error::OutOfMemory(format!("`{label}`, {len} elements: {error}")))?;
    Ok(values)
}

/// `len` zeros, or [`Error::OutOfMemory`].
pub(crate) fn zeros(label: &str, len: usize) -> Result<Vec<f32>> {
    let mut values = with_room(label, len)?;
    values.resize(len, 0.0);
    Ok(values)
}

/// Refuses a value that is not finite, by its place.
pub(crate) fn check_finite(what: &str, values: &[f32]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::data(
            format!("{what} {index}"),
            "a finite number",
            values[index],
        )),
        None => Ok(()),
    }
}
