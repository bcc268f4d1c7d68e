use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

/// What a process holds at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    rss: u64,
    fds: u64,
    threads: u64,
    disk: u64,
}

impl Sample {
    pub(super) const HEAD: &'static str = "  rss MiB    fds  threads  disk MiB";

    pub(super) fn take(pid: u32, data: &Path) -> io::Result<Self> {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
        let pages = statm.split(' ').nth(1).and_then(|n| n.parse().ok());
        let rss: u64 = pages.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self {
            rss: rss * PAGE,
            fds: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
            threads: fs::read_dir(format!("/proc/{pid}/task"))?.count() as u64,
            // The ledger has a row for each generation, and keeps it.
            disk: size(&data.join("log"))?,
        })
    }

    /// Whether the disk holds more than it may: what ends a running stream is let through, and
    /// tombstones count apart.
    pub(super) fn over(&self, max_bytes: u64) -> Option<String> {
        let most = max_bytes + max_bytes / 10;
        let disk = self.disk;
        (disk > most).then(|| format!("{disk} bytes on the disk, of {max_bytes}"))
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Sizes for people: a tenth of a MiB will do.
        let tenths = |bytes: u64| format!("{}.{}", bytes / MIB, bytes % MIB * 10 / MIB);
        let (rss, disk) = (tenths(self.rss), tenths(self.disk));
        write!(f, "{rss:>9} {:>6} {:>8} {disk:>9}", self.fds, self.threads)
    }
}

/// Bytes of all files below a directory. Some go while they are counted.
fn size(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let entries = match fs::read_dir(dir) {
        Err(error) if gone(&error) => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        match entry.metadata() {
            Ok(about) if about.is_dir() => bytes += size(&entry.path())?,
            Ok(about) => bytes += about.len(),
            Err(error) if gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// A figure's name, the figure, and what it may grow beside a tenth: the noise of an allocator, of
/// connections, of a segment.
type Figure = (&'static str, fn(&Sample) -> u64, u64);

/// What grew: the last third of the samples against the first, after a quarter for warming up.
pub(super) fn grown(samples: &[Sample]) -> Vec<String> {
    let warm = &samples[samples.len() / 4..];
    let third = warm.len() / 3;
    if third == 0 {
        return vec!["too short to compare anything".to_owned()];
    }
    let (first, last) = (&warm[..third], &warm[warm.len() - third..]);
    let figures: [Figure; 4] = [
        ("memory", |sample| sample.rss, 12 * MIB),
        ("file handles", |sample| sample.fds, 40),
        ("threads", |sample| sample.threads, 4),
        ("disk", |sample| sample.disk, 6 * MIB),
    ];
    let mut faults = Vec::new();
    for (name, of, noise) in figures {
        let mean = |part: &[Sample]| part.iter().map(of).sum::<u64>() / part.len() as u64;
        let (before, after) = (mean(first), mean(last));
        if after > before + before / 10 + noise {
            faults.push(format!("{name} grew from {before} to {after}"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen_and_noise_is_not() {
        let at = |n: u64, leak: u64| Sample {
            rss: 50 * MIB + n % 3 * MIB + n * leak,
            fds: 100 + n % 7,
            threads: 8,
            disk: 60 * MIB,
        };
        let flat: Vec<_> = (0..60).map(|n| at(n, 0)).collect();
        assert_eq!(grown(&flat), Vec::<String>::new());
        let leaking: Vec<_> = (0..60).map(|n| at(n, MIB)).collect();
        let faults = grown(&leaking);
        assert!(
            faults.len() == 1 && faults[0].contains("memory"),
            "{faults:?}"
        );
        assert!(flat[0].over(50 * MIB).is_some() && flat[0].over(60 * MIB).is_none());
    }
}
