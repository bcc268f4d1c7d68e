//! Names and fixed-size structures of the log's directory.

use std::path::{Path, PathBuf};

/// Names the version of the segment format, codec included.
const MAGIC: &[u8; 8] = b"EVSEG\0\0\x01";
/// Bytes of a segment before its first batch.
pub(super) const HEAD_BYTES: usize = 36;
/// Where the first batch of a segment lies.
pub(super) const FIRST: u64 = HEAD_BYTES as u64;
/// Largest segment; places in it are 32-bit numbers, and a batch may stand across the border.
pub(super) const SEGMENT_BYTES_MAX: u64 = 1 << 30;

pub(super) const LOCK: &str = "lock";
pub(super) const SYNCED: &str = "synced";
pub(super) const ADOPTED: &str = "adopted";
pub(super) const TOMBSTONES: &str = "tombstones";
pub(super) const CLAIMS_LOCK: &str = "claims.lock";

/// The number of a process's own directory; a later process has a higher one.
pub(super) type WriterId = u32;

pub(super) fn log_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("log")
}

pub(super) fn writer_dir(log_dir: &Path, writer: WriterId) -> PathBuf {
    log_dir.join(format!("{writer:08}"))
}

pub(super) fn parse_writer(name: &str) -> Option<WriterId> {
    let sound = name.len() >= 8 && name.bytes().all(|b| b.is_ascii_digit());
    sound.then(|| name.parse().ok()).flatten()
}

pub(super) fn segment_path(log_dir: &Path, writer: WriterId, segment: u32) -> PathBuf {
    writer_dir(log_dir, writer).join(format!("{segment:08}.seg"))
}

/// The numbers of the segments among a directory's names, in order.
pub(super) fn segments_of(names: &[String]) -> Vec<u32> {
    let segments = names.iter().filter_map(|name| name.strip_suffix(".seg"));
    let mut numbers: Vec<_> = segments.filter_map(parse_writer).collect();
    numbers.sort_unstable();
    numbers
}

/// Where a batch lies in its writer's directory. The number before its position and seq say what
/// precedes it in its stream. 20 bytes: a stream's index is made of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchRef {
    /// Of its first record.
    pub(super) position: u32,
    /// The newest event before it.
    pub(super) seq: u32,
    pub(super) segment: u32,
    pub(super) offset: u32,
    /// Its length.
    pub(super) bytes: u32,
}

impl BatchRef {
    /// What the next batch of the stream by the same writer carries as its link. Never zero.
    pub(super) fn link(self) -> u64 {
        u64::from(self.segment) << 32 | u64::from(self.offset)
    }
}

/// The segment and offset that a link names.
pub(super) fn linked(link: u64) -> Option<(u32, u32)> {
    let low = |n: u64| u32::try_from(n & u64::from(u32::MAX)).ok();
    (link != 0).then(|| Some((low(link >> 32)?, low(link)?)))?
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) writer: WriterId,
    pub(super) number: u32,
    /// At the start of each batch.
    pub(super) mark: u32,
    /// The segment before this one; zero for none.
    pub(super) previous: u32,
    /// How much of the previous segment counts: what lies behind was never acknowledged.
    pub(super) sealed: u64,
}

impl SegmentHead {
    pub(super) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut out = [0; HEAD_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&self.writer.to_le_bytes());
        out[12..16].copy_from_slice(&self.number.to_le_bytes());
        out[16..20].copy_from_slice(&self.mark.to_le_bytes());
        out[20..24].copy_from_slice(&self.previous.to_le_bytes());
        out[24..32].copy_from_slice(&self.sealed.to_le_bytes());
        let crc = crc32fast::hash(&out[..32]);
        out[32..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEAD_BYTES>()?;
        let sound = bytes.starts_with(MAGIC) && u32_at(bytes, 32)? == crc32fast::hash(&bytes[..32]);
        sound.then(|| {
            Some(Self {
                writer: u32_at(bytes, 8)?,
                number: u32_at(bytes, 12)?,
                mark: u32_at(bytes, 16)?,
                previous: u32_at(bytes, 20)?,
                sealed: u64_at(bytes, 24)?,
            })
        })?
    }
}

/// How far a writer's segments are durable: what other processes may show at `sync = always`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Synced {
    pub(super) segment: u32,
    pub(super) offset: u64,
}

impl Synced {
    pub(super) const BYTES: usize = 16;

    pub(super) fn encode(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..4].copy_from_slice(&self.segment.to_le_bytes());
        out[4..12].copy_from_slice(&self.offset.to_le_bytes());
        let crc = crc32fast::hash(&out[..12]);
        out[12..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let sound = u32_at(bytes, 12)? == crc32fast::hash(&bytes[..12]);
        sound.then(|| {
            Some(Self {
                segment: u32_at(bytes, 0)?,
                offset: u64_at(bytes, 4)?,
            })
        })?
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
