use std::fs;
use std::io;

use super::float;
use crate::http::malformed;

/// A running program, as `/proc` shows it.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// The seconds of CPU time that it has used, in user and kernel mode, all threads together.
    pub fn cpu(self) -> io::Result<f64> {
        let stat = self.read("stat")?;
        // The name, in parentheses, may hold anything; utime and stime are fields 14 and 15.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks: Vec<u64> = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse().ok())
            .collect();
        let [user, system] = ticks[..] else {
            return Err(malformed(format!("/proc/{}/stat: {stat}", self.0)));
        };
        Ok(float(user + system) / float(rustix::param::clock_ticks_per_second()))
    }

    /// Its resident memory in bytes.
    pub fn resident(self) -> io::Result<u64> {
        let statm = self.read("statm")?;
        let pages = statm.split_whitespace().nth(1).and_then(|n| n.parse().ok());
        let pages: u64 = pages.ok_or_else(|| malformed(format!("/proc/{}/statm", self.0)))?;
        Ok(pages * rustix::param::page_size() as u64)
    }

    fn read(self, file: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.0))
    }
}
