//! The types of stored elements: a shader names those of its buffers, computes in `f32`, and is made for each precision that
//! it meets.
//!
//! A shader that declares an element `Name` reads `f32(buffer[i])` (or `vec4f(..)`) and writes `to_Name(value)`. For `f32`
//! both are the identity.

use std::fmt::Write as _;

use crate::ops::Precision;

/// A type of stored elements in a shader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element {
    /// Its name in the source.
    pub(crate) name: &'static str,
    /// The binding of group 1 that holds such elements.
    pub(crate) binding: usize,
    /// How they are stored.
    pub(crate) precision: Precision,
    /// Numbers of an element, 1 or 4.
    pub(crate) width: usize,
}

impl Element {
    /// Of one number.
    pub(crate) fn scalar(name: &'static str, binding: usize, precision: Precision) -> Self {
        Self {
            name,
            binding,
            precision,
            width: 1,
        }
    }

    /// Of four.
    pub(crate) fn vector(name: &'static str, binding: usize, precision: Precision) -> Self {
        Self {
            width: 4,
            ..Self::scalar(name, binding, precision)
        }
    }

    /// Of as many as a pack has.
    pub(crate) fn packed(
        name: &'static str,
        binding: usize,
        precision: Precision,
        pack: Pack,
    ) -> Self {
        Self {
            width: pack.width(),
            ..Self::scalar(name, binding, precision)
        }
    }

    fn is_half(&self) -> bool {
        self.precision == Precision::F16
    }

    /// Its type, and what turns a computed `x` into one.
    fn declaration(&self) -> String {
        let name = self.name;
        let (computed, stored, value) = match (self.width, self.precision) {
            (1, Precision::F32) => ("f32", "f32", "x"),
            (1, Precision::F16) => ("f32", "f16", "to_half(x)"),
            (_, Precision::F32) => ("vec4f", "vec4f", "x"),
            (_, Precision::F16) => (
                "vec4f",
                "vec4<f16>",
                "vec4<f16>(to_half(x.x), to_half(x.y), to_half(x.z), to_half(x.w))",
            ),
        };
        format!(
            "alias {name} = {stored};\nfn to_{name}(x: {computed}) -> {stored} {{ return {value}; }}\n"
        )
    }
}

/// The neighbouring numbers that an invocation takes at once. On Mesa's software adapter eight lanes load so many numbers in
/// 25 ns, four times as many in 56 ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pack {
    One,
    Four,
}

impl Pack {
    pub(crate) const ALL: [Self; 2] = [Self::One, Self::Four];

    /// Four where all of these offsets, strides and widths are multiples of it.
    pub(crate) fn of(numbers: &[usize]) -> Self {
        match numbers.iter().all(|number| number.is_multiple_of(4)) {
            true => Self::Four,
            false => Self::One,
        }
    }

    pub(crate) fn width(self) -> usize {
        match self {
            Self::One => 1,
            Self::Four => 4,
        }
    }

    /// The module that declares `Value`, what a shader computes with; an element of the same pack is turned into one by
    /// `Value(..)`.
    pub(crate) fn module(self) -> &'static str {
        match self {
            Self::One => include_str!("../../shaders/lib/value_one.wgsl"),
            Self::Four => include_str!("../../shaders/lib/value_four.wgsl"),
        }
    }

    /// The label of a stem's shader.
    pub(crate) fn label(self, stem: &str) -> String {
        match self {
            Self::One => stem.to_owned(),
            Self::Four => format!("{stem}_4"),
        }
    }
}

/// Whether some of them are stored in half precision.
pub(crate) fn any_half(elements: &[Element]) -> bool {
    elements.iter().any(Element::is_half)
}

/// The module that declares the types. It leads, since `enable` has to.
pub(crate) fn module(elements: &[Element]) -> String {
    let mut source = match any_half(elements) {
        true => format!(
            "enable f16;\n\n{}\n",
            include_str!("../../shaders/lib/half.wgsl")
        ),
        false => String::new(),
    };
    source.extend(elements.iter().map(Element::declaration));
    source
}

/// What a shader's label says of them: the names of those in half precision, unless all are.
pub(crate) fn suffix(elements: &[Element]) -> String {
    let mut suffix = String::new();
    if any_half(elements) {
        suffix += "_half";
    }
    if !elements.iter().all(Element::is_half) {
        for element in elements.iter().filter(|element| element.is_half()) {
            let _ = write!(suffix, "_{}", element.name.to_lowercase());
        }
    }
    suffix
}
