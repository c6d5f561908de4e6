//! Parameter groups: ranges of the flat parameters with a learning rate and a weight decay of their own.

use std::ops::Range;

use super::checks::check_not_negative;
use crate::error::{Error, Result};

/// Parameters that are trained with another step size or another weight decay than the rest.
///
/// ```
/// use wgpu_rnn::train::{Optimizer, OptimizerOptions, ParameterGroup};
/// use wgpu_rnn::{ParameterKind, ParameterLayout, RnnConfig};
///
/// // No decay of biases.
/// let layout = ParameterLayout::new(&RnnConfig::lstm(3, 8).build()?)?;
/// let biases = ParameterGroup {
///     ranges: layout.ranges(|entry| {
///         matches!(entry.kind, ParameterKind::BiasInput | ParameterKind::BiasRecurrent)
///     }),
///     ..ParameterGroup::default()
/// };
/// let optimizer = Optimizer::new(layout.len(), OptimizerOptions::adam_w(1e-3))?.group(biases)?;
/// assert_eq!(optimizer.settings().len(), 11 + 2 * 2);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterGroup {
    /// Elements of the flat parameters.
    pub ranges: Vec<Range<usize>>,
    /// What the learning rate is multiplied by; 0 freezes the group.
    pub learning_rate_factor: f64,
    /// Weight decay.
    pub weight_decay: f64,
}

impl Default for ParameterGroup {
    /// No range, factor 1, no decay.
    fn default() -> Self {
        Self {
            ranges: Vec::new(),
            learning_rate_factor: 1.0,
            weight_decay: 0.0,
        }
    }
}

/// All groups of a model; group 0 is what no other one has.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    len: usize,
    /// Learning-rate factor and weight decay of each.
    factors: Vec<[f64; 2]>,
    /// Ranges of groups but 0, none of them empty, sorted, without overlap.
    ranges: Vec<(Range<usize>, usize)>,
}

impl Groups {
    pub(super) fn new(len: usize, weight_decay: f64) -> Result<Self> {
        let mut groups = Self {
            len,
            factors: Vec::new(),
            ranges: Vec::new(),
        };
        groups.push(&ParameterGroup {
            weight_decay,
            ..ParameterGroup::default()
        })?;
        Ok(groups)
    }

    pub(super) fn push(&mut self, group: &ParameterGroup) -> Result<()> {
        for (option, value) in [
            ("learning_rate_factor", group.learning_rate_factor),
            ("weight_decay", group.weight_decay),
        ] {
            check_not_negative(option, value)?;
        }
        let number = self.factors.len();
        let mut ranges = self.ranges.clone();
        for range in &group.ranges {
            if range.start > range.end || range.end > self.len {
                return Err(Error::shape(
                    "range of a parameter group",
                    format!("a range within 0..{}", self.len),
                    format!("{range:?}"),
                ));
            }
            if !range.is_empty() {
                ranges.push((range.clone(), number));
            }
        }
        ranges.sort_by_key(|(range, _)| range.start);
        for pair in ranges.windows(2) {
            let [(first, _), (second, _)] = pair else {
                continue;
            };
            if second.start < first.end {
                return Err(Error::shape(
                    "ranges of parameter groups",
                    "ranges without overlap",
                    format!("{first:?} and {second:?}"),
                ));
            }
        }
        let factors = [group.learning_rate_factor, group.weight_decay];
        self.factors.push(factors);
        self.ranges = ranges;
        Ok(())
    }

    /// Learning-rate factor and weight decay of each group.
    pub(super) fn factors(&self) -> &[[f64; 2]] {
        &self.factors
    }

    /// For the table of an [`OptimizerStep`](crate::ops::OptimizerStep): end and group of each segment.
    pub(super) fn segments(&self) -> Vec<u32> {
        let mut words = Vec::new();
        let mut at = 0;
        for (range, group) in &self.ranges {
            if range.start > at {
                words.extend([range.start as u32, 0]);
            }
            words.extend([range.end as u32, *group as u32]);
            at = range.end;
        }
        if at < self.len {
            words.extend([self.len as u32, 0]);
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_all_parameters() {
        let mut groups = Groups::new(10, 0.1).unwrap();
        assert_eq!(groups.segments(), [10, 0]);
        let group = |ranges: &[Range<usize>]| ParameterGroup {
            ranges: ranges.to_vec(),
            ..ParameterGroup::default()
        };
        groups.push(&group(&[7..10, 2..4, 5..5])).unwrap();
        groups.push(&group(&[4..5, 6..6])).unwrap();
        assert_eq!(groups.segments(), [2, 0, 4, 1, 5, 2, 7, 0, 10, 1]);
        let before = groups.segments();
        for bad in [3..6, 9..11, 0..10] {
            assert!(groups.push(&group(&[bad, 0..0])).is_err());
        }
        assert!(groups.push(&group(&[0..1, 0..2])).is_err());
        assert_eq!(groups.segments(), before);
        assert_eq!(groups.factors().len(), 3);
    }
}
