//! Random bits for serials and job numbers, fetched from the system in bulk.

/// A buffer of random bits.
pub(super) struct Entropy {
    buffer: [u8; 4096],
    used: usize,
}

impl Entropy {
    /// Fails if the system has no randomness to give.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut entropy = Self { buffer: [0; 4096], used: 0 };
        getrandom::fill(&mut entropy.buffer)?;
        Ok(entropy)
    }

    /// The next 128 bits.
    pub(super) fn next(&mut self) -> u128 {
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
