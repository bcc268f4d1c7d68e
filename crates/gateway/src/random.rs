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
        getrandom::fill(&mut bytes)?;
        let (numbers, _) = bytes.as_chunks();
        ready.extend(
            numbers[1..]
                .iter()
                .map(|number| u64::from_ne_bytes(*number)),
        );
        Ok(u64::from_ne_bytes(numbers[0]))
    })
}
