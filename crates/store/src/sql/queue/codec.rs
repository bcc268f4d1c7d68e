//! Entries in a file: length (4 bytes, big endian), CRC-32 of the text (4 bytes), the text, JSON.

use super::QueueError;
use crate::disk::DiskFile;
use crate::sql::values::LedgerEntry;

const HEAD: usize = 8;
/// Largest entry: the longest names many times over.
const ENTRY_BYTES: usize = 64 << 10;
/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// Adds an entry as it stands in a file.
pub(super) fn encode(text: &[u8], into: &mut Vec<u8>) -> Result<(), QueueError> {
    let len = u32::try_from(text.len()).ok();
    let len = len.filter(|_| text.len() <= ENTRY_BYTES);
    let len = len.ok_or(QueueError::TooLarge(text.len()))?;
    into.extend(len.to_be_bytes());
    into.extend(crc32fast::hash(text).to_be_bytes());
    into.extend(text);
    Ok(())
}

/// What a walk found.
pub(super) struct Found {
    /// Where the last whole entry ends.
    pub(super) end: u64,
    /// Whether what follows is no entry, and not the beginning of one either.
    pub(super) is_damaged: bool,
}

/// Calls `visit` with each entry between two places and with its end, until it has enough.
pub(super) fn walk(
    file: &dyn DiskFile,
    from: u64,
    to: u64,
    mut visit: impl FnMut(LedgerEntry, u64) -> bool,
) -> Result<Found, QueueError> {
    let mut buffer = vec![0; READ_BYTES];
    let mut end = from;
    loop {
        let wanted = usize::try_from(to - end).map_or(READ_BYTES, |rest| rest.min(READ_BYTES));
        let read = file.read_at(end, &mut buffer[..wanted])?;
        let mut bytes = &buffer[..read];
        let before = end;
        while let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() {
            let head = u64::from_be_bytes(*head);
            let (len, sum) = ((head >> 32) as usize, head & u64::from(u32::MAX));
            let damaged = Found {
                end,
                is_damaged: true,
            };
            if len > ENTRY_BYTES {
                return Ok(damaged);
            }
            let Some((text, rest)) = rest.split_at_checked(len) else {
                break;
            };
            if u64::from(crc32fast::hash(text)) != sum {
                return Ok(damaged);
            }
            let Ok(entry) = serde_json::from_slice(text) else {
                return Ok(damaged);
            };
            end += (HEAD + len) as u64;
            bytes = rest;
            if !visit(entry, end) {
                return Ok(Found {
                    end,
                    is_damaged: false,
                });
            }
        }
        if end == before {
            return Ok(Found {
                end,
                is_damaged: false,
            });
        }
    }
}
