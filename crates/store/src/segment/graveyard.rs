//! The tombstones on disk: one append-only file for each writer.
//!
//! A tombstone is CRC-32 (4 bytes, of all that follows), length of what follows (2), stream (8),
//! time (8), 1 if a claim follows or 0 (1), claim (64 if so), project. Integers are little endian.
//! A tombstone that is not whole ends the file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use everstream_core::id::{ProjectId, StreamId, UnixMillis};
use everstream_core::record::{Claim, Digest};

use super::layout::{TOMBSTONES, u32_at, u64_at};
use crate::disk::{Disk, DiskFile};
use crate::graves::Grave;

const HEAD: usize = 6;
const BLOCK: usize = 1 << 20;

/// The own file, created when there is something to write.
#[derive(Default)]
pub(super) struct Graveyard {
    file: Option<Arc<dyn DiskFile>>,
    /// Whether the file's name is durable.
    is_named: bool,
    len: u64,
}

impl Graveyard {
    /// Adds tombstones and makes them durable. On the sync thread, or while the log is opened.
    pub(super) fn bury(
        &mut self,
        disk: &dyn Disk,
        own_dir: &Path,
        graves: &[(StreamId, Grave)],
    ) -> io::Result<()> {
        if graves.is_empty() {
            return Ok(());
        }
        let mut out = Vec::new();
        for (id, grave) in graves {
            encode(*id, grave, &mut out);
        }
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(disk.create(&own_dir.join(TOMBSTONES))?),
        };
        if !self.is_named {
            disk.sync_dir(own_dir)?;
            self.is_named = true;
        }
        // Written again at the same place if any of this fails.
        file.write_at(self.len, &out)?;
        file.sync_data()?;
        self.len += out.len() as u64;
        Ok(())
    }
}

/// The tombstones in a file from `at` on, and where the next one will be.
pub(super) fn read(file: &dyn DiskFile, mut at: u64) -> io::Result<(Vec<(StreamId, Grave)>, u64)> {
    let mut graves = Vec::new();
    let mut block = vec![0; BLOCK];
    loop {
        let read = file.read_at(at, &mut block)?;
        let mut rest = &block[..read];
        let before = graves.len();
        while let Some((id, grave, length)) = decode(rest) {
            graves.push((id, grave));
            rest = &rest[length..];
            at += length as u64;
        }
        if graves.len() == before {
            return Ok((graves, at));
        }
    }
}

fn encode(id: StreamId, grave: &Grave, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    out.extend_from_slice(&id.to_bits().to_le_bytes());
    out.extend_from_slice(&grave.at.0.to_le_bytes());
    out.push(u8::from(grave.claim.is_some()));
    if let Some(claim) = &grave.claim {
        out.extend_from_slice(&claim.key.0);
        out.extend_from_slice(&claim.fingerprint.0);
    }
    out.extend_from_slice(grave.project.as_str().as_bytes());
    let length = u16::try_from(out.len() - start - HEAD).unwrap_or(u16::MAX);
    out[start + 4..start + HEAD].copy_from_slice(&length.to_le_bytes());
    let crc = crc32fast::hash(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

fn decode(bytes: &[u8]) -> Option<(StreamId, Grave, usize)> {
    let length = u16::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    let whole = bytes.get(..HEAD + usize::from(length))?;
    if u32_at(whole, 0)? != crc32fast::hash(&whole[4..]) {
        return None;
    }
    let body = &whole[HEAD..];
    let (claim, project) = if *body.get(16)? == 0 {
        (None, &body[17..])
    } else {
        let claim = Claim {
            key: Digest(*body.get(17..)?.first_chunk()?),
            fingerprint: Digest(*body.get(49..)?.first_chunk()?),
        };
        (Some(Box::new(claim)), body.get(81..)?)
    };
    let project: ProjectId = std::str::from_utf8(project).ok()?.parse().ok()?;
    let grave = Grave {
        project,
        claim,
        at: UnixMillis(u64_at(body, 8)?),
    };
    Some((StreamId::from_bits(u64_at(body, 0)?), grave, whole.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_round_trips_and_no_damaged_one_is_read() {
        for claim in [None, Some([3; 32])] {
            let grave = Grave {
                project: "web".parse().unwrap(),
                claim: claim.map(|key| {
                    Box::new(Claim {
                        key: Digest(key),
                        fingerprint: Digest([9; 32]),
                    })
                }),
                at: UnixMillis(77),
            };
            let id = StreamId::from_bits(5);
            let mut bytes = Vec::new();
            encode(id, &grave, &mut bytes);
            assert_eq!(decode(&bytes), Some((id, grave, bytes.len())));
            for at in 0..bytes.len() {
                assert_eq!(decode(&bytes[..at]), None);
                bytes[at] ^= 1;
                assert_eq!(decode(&bytes), None, "byte {at}");
                bytes[at] ^= 1;
            }
        }
    }
}
