//! Samplers for classes of unequal size.

use super::order::{Order, Purpose};
use crate::error::{Error, Result};

/// Draws a fixed number of samples of each class for an epoch, as evenly as can be: before a sample comes once more, all
/// others of its class have come as often. The same for the same seed and epoch.
///
/// ```
/// use wgpu_rnn::data::ClassSampler;
///
/// let labels = [0, 0, 0, 0, 0, 0, 1, 1];
/// let balanced = ClassSampler::balanced(&labels, 3)?;
/// let epoch = balanced.epoch(0);
/// assert_eq!(epoch.len(), 8);
/// assert_eq!(epoch.iter().filter(|&&sample| labels[sample] == 1).count(), 4);
/// # Ok::<(), wgpu_rnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ClassSampler {
    /// The classes that occur, by label.
    classes: Vec<Class>,
    seed: u64,
}

#[derive(Debug, Clone)]
struct Class {
    label: u32,
    members: Vec<usize>,
    /// Samples of an epoch.
    drawn: usize,
}

impl ClassSampler {
    /// Equally many of each class that occurs: an epoch has as many samples as there are `labels`, rounded up to whole
    /// classes. Large classes are thinned, small ones repeated.
    ///
    /// # Errors
    /// [`Error::Data`] if there are no labels.
    pub fn balanced(labels: &[u32], seed: u64) -> Result<Self> {
        let mut sampler = Self::new(labels, seed)?;
        let each = labels.len().div_ceil(sampler.classes.len());
        for class in &mut sampler.classes {
            class.drawn = each;
        }
        Ok(sampler)
    }

    /// Every sample at least once, and small classes repeated until each has `ratio` times the largest one's number,
    /// rounded up. A model so trained sees other frequencies than the world has: its probabilities need recalibration.
    ///
    /// # Errors
    /// [`Error::Data`] if there are no labels; [`Error::Option`] if `ratio` is not in (0, 1]; [`Error::Overflow`]
    /// if an epoch would have 2^32 samples or more.
    pub fn over_sampling(labels: &[u32], ratio: f64, seed: u64) -> Result<Self> {
        if !(ratio > 0.0 && ratio <= 1.0) {
            return Err(Error::option(
                "ratio",
                format!("above 0 and at most 1, got {ratio}"),
            ));
        }
        let mut sampler = Self::new(labels, seed)?;
        let sizes = sampler.classes.iter().map(|class| class.members.len());
        let least = (ratio * sizes.max().unwrap_or(0) as f64).ceil() as usize;
        for class in &mut sampler.classes {
            class.drawn = class.members.len().max(least);
        }
        // Many small classes beside a large one add up.
        let total = sampler.classes.iter().try_fold(0usize, |sum, class| {
            sum.checked_add(class.drawn)
                .filter(|&sum| sum <= u32::MAX as usize)
        });
        match total {
            Some(_) => Ok(sampler),
            None => Err(Error::Overflow {
                what: "samples of an epoch",
                detail: format!("{} classes of {least} or more", sampler.classes.len()),
            }),
        }
    }

    fn new(labels: &[u32], seed: u64) -> Result<Self> {
        if labels.is_empty() {
            return Err(Error::data("labels", "at least one", "none"));
        }
        let mut samples: Vec<usize> = (0..labels.len()).collect();
        samples.sort_by_key(|&sample| labels[sample]);
        let classes = samples
            .chunk_by(|&a, &b| labels[a] == labels[b])
            .map(|members| Class {
                label: labels[members[0]],
                members: members.to_vec(),
                drawn: 0,
            })
            .collect();
        Ok(Self { classes, seed })
    }

    /// Number of samples of an epoch.
    pub fn len(&self) -> usize {
        self.classes.iter().map(|class| class.drawn).sum()
    }

    /// Whether an epoch has no sample; never so.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Samples of an epoch of each label that occurs.
    pub fn drawn(&self) -> impl Iterator<Item = (u32, usize)> + '_ {
        self.classes.iter().map(|class| (class.label, class.drawn))
    }

    /// The samples of an epoch, as indices of the labels, shuffled.
    pub fn epoch(&self, epoch: u64) -> Vec<usize> {
        let mut samples = Vec::with_capacity(self.len());
        for (number, class) in self.classes.iter().enumerate() {
            let whole = class.drawn / class.members.len();
            for _ in 0..whole {
                samples.extend_from_slice(&class.members);
            }
            let mut members = class.members.clone();
            let order = Order {
                seed: self.seed,
                epoch,
                purpose: Purpose::Class as u32 + number as u32,
            };
            order.shuffle(&mut members);
            samples.extend(&members[..class.drawn % class.members.len()]);
        }
        Order::new(self.seed, epoch, Purpose::Samples).shuffle(&mut samples);
        samples
    }
}
