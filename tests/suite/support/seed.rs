//! Random numbers that a test can draw again: `LOVAGE_SEED` replays a run.

/// The seed of this run, printed so that a failure can be replayed.
pub(crate) fn seed() -> u64 {
    let given = std::env::var_os("LOVAGE_SEED").and_then(|seed| seed.into_string().ok()?.parse().ok());
    let seed = given.unwrap_or(20_261_122);
    println!("LOVAGE_SEED={seed}");
    seed
}

/// A stream of numbers from a seed: splitmix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// The next number.
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound.max(1) as u64).unwrap()
    }

    /// One of `choices`.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
