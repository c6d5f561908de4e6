use proptest::prelude::*;
use wgpu_rnn::Error;
use wgpu_rnn::data::ClassSampler;

use crate::refused;

fn count(samples: &[usize], labels: &[u32], label: u32) -> usize {
    samples.iter().filter(|&&s| labels[s] == label).count()
}

/// How often each sample comes.
fn times(samples: &[usize], len: usize) -> Vec<usize> {
    let mut times = vec![0; len];
    for &sample in samples {
        times[sample] += 1;
    }
    times
}

proptest! {
    #[test]
    fn samples_of_a_class_come_equally_often(
        labels in prop::collection::vec(0..5u32, 1..60),
        ratio in 0.01..=1.0f64,
        (seed, epoch) in (any::<u64>(), any::<u64>()),
    ) {
        let largest = (0..5).map(|label| labels.iter().filter(|&&l| l == label).count()).max().unwrap();
        let least = (ratio * largest as f64).ceil() as usize;
        let classes = (0..5).filter(|label| labels.contains(label)).count();
        let balanced = ClassSampler::balanced(&labels, seed).unwrap();
        let over = ClassSampler::over_sampling(&labels, ratio, seed).unwrap();
        for (sampler, over) in [(&balanced, false), (&over, true)] {
            let samples = sampler.epoch(epoch);
            prop_assert_eq!(samples.len(), sampler.len());
            prop_assert_eq!(&samples, &sampler.epoch(epoch));
            let times = times(&samples, labels.len());
            for (label, drawn) in sampler.drawn() {
                let size = labels.iter().filter(|&&l| l == label).count();
                let expected = if over { size.max(least) } else { labels.len().div_ceil(classes) };
                prop_assert_eq!(drawn, expected);
                prop_assert_eq!(count(&samples, &labels, label), expected);
                let of_class = || times.iter().zip(&labels).filter(|(_, l)| **l == label).map(|(t, _)| *t);
                prop_assert!(of_class().max().unwrap() - of_class().min().unwrap() <= 1);
            }
            prop_assert!(!over || times.iter().all(|&times| times > 0));
        }
    }
}

#[test]
fn epochs_draw_others() {
    let labels: Vec<u32> = (0..200).map(|n| u32::from(n % 20 == 0)).collect();
    let sampler = ClassSampler::balanced(&labels, 5).unwrap();
    let mut seen = [vec![0; 200], vec![0; 200]];
    for epoch in 0..20 {
        for sample in sampler.epoch(epoch) {
            seen[(epoch % 2) as usize][sample] += 1;
        }
    }
    // 190 negatives in draws of 100: over ten epochs nearly each comes.
    let missed = |seen: &[i32]| seen.iter().filter(|&&times| times == 0).count();
    assert!(missed(&seen[0]) < 10 && missed(&seen[1]) < 10);
    assert_ne!(sampler.epoch(0), sampler.epoch(1));
    let other = ClassSampler::balanced(&labels, 6).unwrap();
    assert_ne!(sampler.epoch(0), other.epoch(0));
}

#[test]
fn bad_options() {
    refused(
        ClassSampler::balanced(&[], 0),
        "labels: expected at least one, got none",
    );
    for ratio in [0.0, 1.1, f64::NAN] {
        refused(
            ClassSampler::over_sampling(&[0], ratio, 0),
            &format!("option `ratio`: above 0 and at most 1, got {ratio}"),
        );
    }
    let mut labels = vec![0; 200_000];
    labels.extend(1..100_000);
    let error = ClassSampler::over_sampling(&labels, 1.0, 0).unwrap_err();
    assert!(matches!(error, Error::Overflow { .. }), "{error:?}");
}
