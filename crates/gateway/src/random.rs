//! Randomness of the operating system, for numbers that must not be drawn twice on any machine.

use std::cell::RefCell;

/// Numbers that one call to the system brings: the call costs more than all the rest.
const DRAWN: usize = 64;

thread_local! {
    static READY: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// A random number.
///
/// # Errors
/// When the system gives no randomness.
pub(crate) fn u64() -> Result<u64, getrandom::Error> {
    READY.with_borrow_mut(|ready| {
        if let Some(number) = ready.pop() {
            return Ok(number);
        }
        let mut bytes = [0; DRAWN * size_of::<u64>()];
        fill(&mut bytes)?;
        let (numbers, _) = bytes.as_chunks();
        ready.extend(
            numbers[1..]
                .iter()
                .map(|number| u64::from_ne_bytes(*number)),
        );
        Ok(u64::from_ne_bytes(numbers[0]))
    })
}

#[cfg(not(feature = "sim"))]
use getrandom::fill;

#[cfg(feature = "sim")]
use simulated::fill;
#[cfg(feature = "sim")]
pub use simulated::replay;

/// What a simulation draws: the same numbers for the same seed.
#[cfg(feature = "sim")]
mod simulated {
    use std::cell::Cell;

    use super::READY;

    thread_local! {
        static SEED: Cell<u64> = const { Cell::new(0) };
    }

    /// From now on this thread draws the numbers of `seed`.
    pub fn replay(seed: u64) {
        SEED.set(seed);
        READY.with_borrow_mut(Vec::clear);
    }

    /// The splitmix64 generator.
    #[expect(clippy::unnecessary_wraps, reason = "as the system's")]
    pub(super) fn fill(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
        for part in bytes.chunks_mut(size_of::<u64>()) {
            let seed = SEED.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
            SEED.set(seed);
            let mut mixed = seed;
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            part.copy_from_slice(&mixed.to_ne_bytes()[..part.len()]);
        }
        Ok(())
    }
}
