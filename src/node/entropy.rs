//! Random bits for serials and job numbers: fetched from the system in bulk, or made from a seed.

/// Where random bits come from.
pub(super) enum Entropy {
    /// From the system.
    System(Box<Buffer>),
    /// From a seed: the same bits each time.
    Seeded(u64),
}

/// A buffer of random bits.
pub(super) struct Buffer {
    buffer: [u8; 4096],
    used: usize,
}

impl Entropy {
    /// Fails if the system has no randomness to give.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut buffer = Box::new(Buffer { buffer: [0; 4096], used: 0 });
        getrandom::fill(&mut buffer.buffer)?;
        Ok(Self::System(buffer))
    }

    pub(super) fn seeded(seed: u64) -> Self {
        Self::Seeded(seed)
    }

    /// The next 128 bits.
    pub(super) fn next(&mut self) -> u128 {
        match self {
            Self::System(buffer) => buffer.next(),
            Self::Seeded(state) => {
                u128::from(split_mix(state)) << 64 | u128::from(split_mix(state))
            }
        }
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): small, and no two seeds give the same row.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Buffer {
    fn next(&mut self) -> u128 {
        if self.used == self.buffer.len() {
            match getrandom::fill(&mut self.buffer) {
                Ok(()) => self.used = 0,
                Err(error) => {
                    // It worked at the start. Serials stay unique without fresh bits: they only
                    // ever rise.
                    tracing::warn!(%error, "no random bits from the system");
                    return 0;
                }
            }
        }
        let mut bits = [0; 16];
        bits.copy_from_slice(&self.buffer[self.used..self.used + 16]);
        self.used += 16;
        u128::from_be_bytes(bits)
    }
}
