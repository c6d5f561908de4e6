//! The counter-based generator of dropout and zoneout masks: Philox4x32-10 (Salmon et al. 2011).
//!
//! A number depends only on the seed and on *what it is for* (site, sequence, step, feature), not on the order of
//! computation, so the CPU, every GPU and any packing of the same sequences draw the same masks.

/// Which random numbers an element draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomSite {
    /// Layer.
    pub layer: u32,
    /// Direction; 0 where there is none.
    pub direction: u32,
    /// What the numbers are for.
    pub purpose: RandomPurpose,
}

/// What random numbers are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomPurpose {
    /// Dropout between layers.
    Between = 0,
    /// Variational dropout on a layer's input.
    Input = 1,
    /// Variational dropout on the recurrent state.
    Recurrent = 2,
    /// Zoneout of the hidden state.
    ZoneoutHidden = 3,
    /// Zoneout of the cell state.
    ZoneoutCell = 4,
    /// Dropout around a network: [`nn::Dropout`](crate::nn::Dropout), whose number is the site's layer.
    Head = 5,
}

impl RandomSite {
    /// The word of the generator's counter that tells sites apart.
    pub fn word(self) -> u32 {
        (self.layer << 4) | (self.direction << 3) | self.purpose as u32
    }
}

/// One block of Philox4x32-10: four words from a counter and a key.
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key[0] = key[0].wrapping_add(0x9E37_79B9);
            key[1] = key[1].wrapping_add(0xBB67_AE85);
        }
        let first = u64::from(counter[0]) * 0xD251_1F53;
        let second = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
    }
    counter
}

/// A uniform number in `[0, 1)` with 24 bits: counter (`feature / 4`, `step`, `sequence`, site), word `feature % 4`.
/// `step` is 0 where a mask is the same for all steps.
pub fn uniform(seed: u64, site: RandomSite, sequence: u32, step: u32, feature: u32) -> f32 {
    uniforms(seed, site, sequence, step, feature / 4)[(feature % 4) as usize]
}

/// The numbers of four features, from feature `4 * block` on.
pub fn uniforms(seed: u64, site: RandomSite, sequence: u32, step: u32, block: u32) -> [f32; 4] {
    let counter = [block, step, sequence, site.word()];
    let words = philox(counter, [seed as u32, (seed >> 32) as u32]);
    words.map(|word| (word >> 8) as f32 * (1.0 / 16_777_216.0))
}

/// Dropout's factor: 0 with `probability`, else `1 / (1 - probability)`.
pub fn dropout_factor(
    seed: u64,
    site: RandomSite,
    (sequence, step, feature): (u32, u32, u32),
    probability: f32,
) -> f32 {
    if uniform(seed, site, sequence, step, feature) < probability {
        0.0
    } else {
        1.0 / (1.0 - probability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that the authors publish with Random123.
    #[test]
    fn philox_known_answers() {
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }
}
