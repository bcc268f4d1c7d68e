//! Reading another process's directory on from where it was left.

use std::io;
use std::sync::Arc;

use everstream_core::record::codec::Outline;
use tracing::{info, warn};

use super::files::Segment;
use super::graveyard;
use super::layout::{self, ADOPTED, FIRST, SYNCED, Synced, TOMBSTONES, WriterId};
use super::scan::{Found, Scan};
use super::sources::Source;
use super::step::Step;
use super::{Shared, lock};

/// Steps taken up at once.
const STEPS: usize = 512;

/// What to read of a segment.
struct Part<'a> {
    segment: &'a Arc<Segment>,
    number: u32,
    end: u64,
    /// Nothing will be added before `end`.
    is_final: bool,
    /// The newest segment of a dead process: what is not whole at its end is a torn tail.
    is_last: bool,
}

impl Shared {
    /// Reads what is new in a directory; true if a stream went on in it that began elsewhere.
    pub(super) fn follow(
        &self,
        writer: WriterId,
        source: &mut Source,
        is_dead: bool,
    ) -> io::Result<bool> {
        self.follow_graves(writer, source)?;
        let dir = layout::writer_dir(self.files.log_dir(), writer);
        let names = self.disk.list(&dir)?;
        // Then nothing is added any more, and what is not whole at the end was cut.
        let is_over = is_dead || names.iter().any(|name| name == ADOPTED);
        let limit = if is_over {
            None
        } else {
            self.synced_of(writer, source)?
        };
        let numbers = layout::segments_of(&names);
        source.sizes.retain(|number, size| {
            let stays = numbers.contains(number);
            if !stays {
                self.shrink(*size);
            }
            stays
        });
        let mut went_on = false;
        for (nth, &number) in numbers.iter().enumerate() {
            self.pace.progress();
            if number < source.at.0 {
                continue;
            }
            if number != source.at.0 {
                source.at = (number, FIRST);
            }
            let next = numbers.get(nth + 1).copied();
            let Some(segment) = self.files.get(writer, number)? else {
                if is_over || next.is_some() {
                    continue;
                }
                break;
            };
            let seal = self.seal(writer, number, &numbers[nth + 1..])?;
            let len = segment.file.size()?;
            let mut part = Part {
                segment: &segment,
                number,
                end: seal.unwrap_or(len).min(len),
                is_final: is_over || seal.is_some(),
                is_last: is_dead && seal.is_none(),
            };
            if let Some(limit) = limit {
                if number > limit.segment {
                    break;
                }
                if number == limit.segment {
                    part.end = part.end.min(limit.offset);
                    part.is_final = false;
                }
            }
            went_on |= self.read_part(writer, source, &part)?;
            if !part.is_final {
                break;
            }
        }
        Ok(went_on)
    }

    /// How much of a segment counts, once one behind it says so. `None` for the newest.
    fn seal(&self, writer: WriterId, number: u32, later: &[u32]) -> io::Result<Option<u64>> {
        for next in later {
            if let Some(next) = self.files.get(writer, *next)? {
                let sealed = next.head.filter(|head| head.previous == number);
                return Ok(Some(sealed.map_or(u64::MAX, |head| head.sealed)));
            }
        }
        Ok(None)
    }

    fn read_part(
        &self,
        writer: WriterId,
        source: &mut Source,
        part: &Part<'_>,
    ) -> io::Result<bool> {
        let mut scan = Scan::new(
            &*part.segment.file,
            part.segment.mark,
            source.at.1,
            part.end,
        );
        let mut went_on = false;
        let mut steps = Vec::new();
        loop {
            let from = scan.at;
            match scan.next()? {
                Found::Batch(outline, records, at) => {
                    let Outline { head, bytes, .. } = outline;
                    if let Some(step) = Step::of(&head, &records, (part.number, at, bytes)) {
                        steps.push(step);
                    } else {
                        warn!(writer, segment = part.number, at, "a batch does not fit");
                    }
                    if steps.len() >= STEPS {
                        went_on |= self.take_up(writer, &mut steps);
                    }
                }
                Found::End => break,
                Found::Bad if !part.is_final => break,
                Found::Bad => {
                    if scan.resync()? {
                        let lost = scan.at - from;
                        warn!(
                            writer,
                            segment = part.number,
                            from,
                            lost,
                            "the log is damaged"
                        );
                        continue;
                    }
                    if part.is_last {
                        info!(writer, segment = part.number, from, "a torn tail is cut");
                        part.segment.file.set_len(from)?;
                    } else {
                        warn!(writer, segment = part.number, from, "the log is damaged");
                    }
                    scan.at = from;
                    break;
                }
            }
        }
        source.at.1 = scan.at;
        went_on |= self.take_up(writer, &mut steps);
        let known = source.sizes.insert(part.number, scan.at).unwrap_or(0);
        self.grow(scan.at.saturating_sub(known));
        Ok(went_on)
    }

    fn take_up(&self, writer: WriterId, steps: &mut Vec<Step>) -> bool {
        self.pace.progress();
        let mut index = lock(&self.index);
        let mut went_on = false;
        for step in steps.drain(..) {
            let continues = step.at.position > 0;
            went_on |= index.apply(writer, step) && continues;
        }
        went_on
    }

    fn follow_graves(&self, writer: WriterId, source: &mut Source) -> io::Result<()> {
        let path = layout::writer_dir(self.files.log_dir(), writer).join(TOMBSTONES);
        let file = match self.disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if file.size()? <= source.graves_at {
            return Ok(());
        }
        let (graves, at) = graveyard::read(&*file, source.graves_at)?;
        source.graves_at = at;
        let mut index = lock(&self.index);
        for (id, grave) in graves {
            index.bury(id, grave);
        }
        Ok(())
    }

    /// How far a live process lets others read; `None` when that is as far as it wrote.
    pub(super) fn synced_of(
        &self,
        writer: WriterId,
        source: &mut Source,
    ) -> io::Result<Option<Synced>> {
        let path = layout::writer_dir(self.files.log_dir(), writer).join(SYNCED);
        let file = match self.disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = [0; Synced::BYTES];
        file.read_at(0, &mut bytes)?;
        // Read while it is written it may be unsound: then what was known holds on.
        let known = source.synced.unwrap_or_default();
        let synced = Synced::decode(&bytes).unwrap_or(known);
        source.synced = Some(synced);
        Ok(Some(synced))
    }
}
