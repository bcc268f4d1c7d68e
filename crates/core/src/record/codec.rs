//! How an append lies on disk: one batch of records.
//!
//! # Constraints
//! - An append is written at once and read back whole: a batch is the unit of the checksum, of
//!   atomicity and of a torn write.
//! - The log is read from many places: after a crash (forward, perhaps over damage), by another
//!   process while it is being written (the end may be half there), and backwards along one stream.
//! - The payload of an event is the bulk of everything and goes through untouched: it is stored raw
//!   and read back as a slice of what was read, never copied or parsed.
//! - What a client sends ends up in payloads, so nothing in a payload may ever be taken for a batch.
//!
//! # Layout
//! All integers are little endian; a varint is LEB128 of at most 10 bytes.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 4 | mark: a random number of the segment's, in its header and at the start of each batch |
//! | 4 | 4 | length of the batch, this header included |
//! | 8 | 4 | CRC-32 of the length and of all that follows this field |
//! | 12 | 8 | stream |
//! | 20 | 4 | epoch |
//! | 24 | 4 | number of records |
//! | 28 | 8 | position of the first record |
//! | 36 | 8 | seq of the newest event before the batch |
//! | 44 | 8 | time of the append, ms |
//! | 52 | 8 | link: where the stream's previous batch lies; the store's own matter, zero for none |
//! | 60 | | the records, one after the other |
//!
//! A record is its kind (1 byte) and its body:
//!
//! | kind | body |
//! |---|---|
//! | 1 Accepted | varint length, JSON; varint length, the request as it came |
//! | 2 Dialled, 3 Head, 6 End, 7 Abandoned, 8 Seam | varint length, JSON |
//! | 4 Event | time less the batch's (zigzag varint), varint length of the name, varint length of the data, name, data |
//! | 5 Leased | nothing |
//!
//! Events have no seq of their own: they are dense from the header's on. The version of all this is
//! the segment header's.
//!
//! # Recovery
//! [`decode`] tells a batch that is not all there ([`Decoded::Incomplete`]: a torn tail, or one
//! still being written) from one that is wrong ([`Decoded::Corrupt`]). Behind damage the next batch
//! is found by looking for the mark. It is random, so a client cannot have planted a batch there.

use bytes::Bytes;

use super::{Abandoned, Dialled, Head, Misfit, Position, Record, Seam};
use crate::event::Event;
use crate::id::{Epoch, Seq, StreamId, UnixMillis};
use crate::limits;

/// Bytes of a batch before its records.
pub const HEAD_BYTES: usize = 60;
/// Where the checksum stands; it covers the length before it and all after it.
const CRC_AT: usize = 8;
const CRC_END: usize = CRC_AT + 4;

const ACCEPTED: u8 = 1;
const DIALLED: u8 = 2;
const HEAD: u8 = 3;
const EVENT: u8 = 4;
const LEASED: u8 = 5;
const END: u8 = 6;
const ABANDONED: u8 = 7;
const SEAM: u8 = 8;

/// What a batch says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHead {
    /// Whose records these are.
    pub stream: StreamId,
    /// The epoch they were appended under.
    pub epoch: Epoch,
    /// Of the first record.
    pub position: Position,
    /// The newest event before the batch.
    pub seq: Seq,
    /// When it was appended.
    pub time: UnixMillis,
    /// Where the stream's previous batch lies, in the store's own terms; zero for none.
    pub link: u64,
}

/// A batch without its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// What it says of itself.
    pub head: BatchHead,
    /// How many records it has.
    pub count: u32,
    /// Its length, header included.
    pub bytes: usize,
}

/// What stood at a place in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A batch.
    Whole {
        /// Its header.
        outline: Outline,
        /// Its records, never none. Their payloads are slices of what was decoded.
        records: Vec<Record>,
    },
    /// The bytes may be the start of a batch, but end within it.
    Incomplete,
    /// The bytes are no batch.
    Corrupt,
}

/// Appends the batch of `records` to `out`.
///
/// # Errors
/// When there are no records, their events are not dense from `head.seq` on, or all together are
/// larger than [`limits::BATCH_BYTES`]. `out` is as it was then.
pub fn encode(
    mark: u32,
    head: &BatchHead,
    records: &[Record],
    out: &mut Vec<u8>,
) -> Result<(), Misfit> {
    let start = out.len();
    encode_into(mark, head, records, out, start).inspect_err(|_| out.truncate(start))
}

fn encode_into(
    mark: u32,
    head: &BatchHead,
    records: &[Record],
    out: &mut Vec<u8>,
    start: usize,
) -> Result<(), Misfit> {
    let count = u32::try_from(records.len()).map_err(|_| Misfit("too many records at once"))?;
    if count == 0 {
        return Err(Misfit("a batch without records"));
    }
    out.extend_from_slice(&mark.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&head.stream.to_bits().to_le_bytes());
    out.extend_from_slice(&head.epoch.get().to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&head.position.0.to_le_bytes());
    out.extend_from_slice(&head.seq.get().to_le_bytes());
    out.extend_from_slice(&head.time.0.to_le_bytes());
    out.extend_from_slice(&head.link.to_le_bytes());
    let mut seq = head.seq;
    for record in records {
        put_record(out, record, head.time, &mut seq)?;
        if out.len() - start > limits::BATCH_BYTES {
            return Err(Misfit("one append is larger than the log takes (256 MiB)"));
        }
    }
    let batch = &mut out[start..];
    let length = u32::try_from(batch.len()).map_err(|_| Misfit("a batch of over 4 GiB"))?;
    batch[4..CRC_AT].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(batch);
    batch[CRC_AT..CRC_END].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

fn put_record(
    out: &mut Vec<u8>,
    record: &Record,
    time: UnixMillis,
    seq: &mut Seq,
) -> Result<(), Misfit> {
    match record {
        Record::Accepted(accepted) => {
            put_json(out, ACCEPTED, accepted.as_ref())?;
            put_varint(out, accepted.request.len() as u64);
            out.extend_from_slice(&accepted.request);
        }
        Record::Dialled(dialled) => put_json(out, DIALLED, dialled)?,
        Record::Head(head) => put_json(out, HEAD, head)?,
        Record::Abandoned(abandoned) => put_json(out, ABANDONED, abandoned)?,
        Record::Seam(seam) => put_json(out, SEAM, seam)?,
        Record::Event(event) => {
            *seq = seq.next();
            if event.seq != *seq {
                return Err(Misfit("an event whose seq is not the next"));
            }
            out.push(EVENT);
            put_varint(out, zigzag(event.time.0.wrapping_sub(time.0)));
            put_varint(out, event.name.len() as u64);
            put_varint(out, event.data.len() as u64);
            out.extend_from_slice(&event.name);
            out.extend_from_slice(&event.data);
        }
        Record::Leased => out.push(LEASED),
        Record::End(end) => put_json(out, END, end.as_ref())?,
    }
    Ok(())
}

fn put_json<T: serde::Serialize>(out: &mut Vec<u8>, kind: u8, value: &T) -> Result<(), Misfit> {
    let json = serde_json::to_vec(value).map_err(|_| Misfit("a record that has no JSON form"))?;
    out.push(kind);
    put_varint(out, json.len() as u64);
    out.extend_from_slice(&json);
    Ok(())
}

/// The header at the start of `bytes`, if a batch of a segment with this mark begins there. Its
/// checksum is NOT checked: who follows links by it must check that they lead where they should.
pub fn peek(mark: u32, bytes: &[u8]) -> Option<Outline> {
    let head = bytes.first_chunk::<HEAD_BYTES>()?;
    let u32_at = |at: usize| head[at..].first_chunk().map(|b| u32::from_le_bytes(*b));
    let u64_at = |at: usize| head[at..].first_chunk().map(|b| u64::from_le_bytes(*b));
    let length = usize::try_from(u32_at(4)?).ok()?;
    if u32_at(0)? != mark || !(HEAD_BYTES..=limits::BATCH_BYTES).contains(&length) {
        return None;
    }
    Some(Outline {
        head: BatchHead {
            stream: StreamId::from_bits(u64_at(12)?),
            epoch: Epoch::new(u32_at(20)?),
            position: Position(u64_at(28)?),
            seq: Seq::new(u64_at(36)?),
            time: UnixMillis(u64_at(44)?),
            link: u64_at(52)?,
        },
        count: u32_at(24)?,
        bytes: length,
    })
}

/// The length of the batch that seems to begin at the start of `bytes`, once enough of it is there
/// to tell.
pub fn length(mark: u32, bytes: &[u8]) -> Option<usize> {
    let (found, rest) = bytes.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    let sound = (HEAD_BYTES..=limits::BATCH_BYTES).contains(&length);
    (u32::from_le_bytes(*found) == mark && sound).then_some(length)
}

/// Decodes the batch at the start of `bytes`, which may go on behind it.
pub fn decode(mark: u32, bytes: &Bytes) -> Decoded {
    let known = bytes.len().min(4);
    if bytes[..known] != mark.to_le_bytes()[..known] {
        return Decoded::Corrupt;
    }
    if bytes.len() < CRC_AT {
        return Decoded::Incomplete;
    }
    let Some(length) = length(mark, bytes) else {
        return Decoded::Corrupt;
    };
    if bytes.len() < length {
        return Decoded::Incomplete;
    }
    let batch = bytes.slice(..length);
    let stored = batch[CRC_AT..].first_chunk().copied();
    if stored.map(u32::from_le_bytes) != Some(checksum(&batch)) {
        return Decoded::Corrupt;
    }
    whole(mark, batch).unwrap_or(Decoded::Corrupt)
}

fn whole(mark: u32, batch: Bytes) -> Option<Decoded> {
    let outline = peek(mark, &batch)?;
    let mut rest = Cursor {
        bytes: batch,
        at: HEAD_BYTES,
    };
    let mut seq = outline.head.seq;
    let mut records = Vec::with_capacity((outline.count as usize).min(rest.bytes.len()));
    for _ in 0..outline.count {
        records.push(take_record(&mut rest, outline.head.time, &mut seq)?);
    }
    let sound = rest.at == rest.bytes.len() && !records.is_empty();
    sound.then_some(Decoded::Whole { outline, records })
}

fn take_record(rest: &mut Cursor, time: UnixMillis, seq: &mut Seq) -> Option<Record> {
    Some(match rest.byte()? {
        ACCEPTED => {
            let mut accepted: super::Accepted = rest.json()?;
            accepted.request = rest.block()?;
            Record::Accepted(accepted.into())
        }
        DIALLED => Record::Dialled(rest.json::<Dialled>()?),
        HEAD => Record::Head(rest.json::<Head>()?),
        EVENT => {
            let time = UnixMillis(time.0.wrapping_add(unzigzag(rest.varint()?)));
            let name = rest.varint()?;
            let data = rest.varint()?;
            *seq = Seq::new(seq.get().checked_add(1)?);
            Record::Event(Event {
                seq: *seq,
                time,
                name: rest.take(name)?,
                data: rest.take(data)?,
            })
        }
        LEASED => Record::Leased,
        END => Record::End(rest.json::<super::End>()?.into()),
        ABANDONED => Record::Abandoned(rest.json::<Abandoned>()?),
        SEAM => Record::Seam(rest.json::<Seam>()?),
        _ => return None,
    })
}

struct Cursor {
    bytes: Bytes,
    at: usize,
}

impl Cursor {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<Bytes> {
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        if end > self.bytes.len() {
            return None;
        }
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Some(taken)
    }

    fn block(&mut self) -> Option<Bytes> {
        let length = self.varint()?;
        self.take(length)
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self) -> Option<T> {
        serde_json::from_slice(&self.block()?).ok()
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Small distances in both directions become small numbers.
const fn zigzag(distance: u64) -> u64 {
    let sign = (distance.cast_signed() >> 63).cast_unsigned();
    (distance << 1) ^ sign
}

const fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

fn checksum(batch: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&batch[4..CRC_AT]);
    hasher.update(&batch[CRC_END..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
