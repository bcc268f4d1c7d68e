//! The conformance suite on both backends.

use std::sync::Arc;
use std::time::Duration;

use everstream_store::StreamLog;
use everstream_store::config::{Clock, MemoryConfig, SegmentConfig, Sync};
use everstream_store::conformance::{self, Backend, Instance};
use everstream_store::disk::OsDisk;
use everstream_store::memory::MemoryLog;
use everstream_store::segment::SegmentLog;

struct Memory;

impl Backend for Memory {
    fn open(&self, config: MemoryConfig, clock: Clock) -> Box<dyn Instance> {
        Box::new(Remembered(Arc::new(MemoryLog::new(config, clock))))
    }
}

struct Remembered(Arc<MemoryLog>);

impl Instance for Remembered {
    fn log(&self) -> Arc<dyn StreamLog> {
        Arc::clone(&self.0) as _
    }

    fn crash(&mut self) {
        self.0.abandon_all();
    }
}

struct Segments {
    sync: Sync,
    segment_bytes: u64,
}

struct Segmented {
    _dir: tempfile::TempDir,
    config: SegmentConfig,
    clock: Clock,
    log: Option<Arc<SegmentLog>>,
}

impl Segmented {
    fn open(&mut self) {
        let log = SegmentLog::open(
            self.config.clone(),
            Arc::new(OsDisk),
            Arc::clone(&self.clock),
        );
        self.log = Some(Arc::new(log.unwrap()));
    }
}

impl Backend for Segments {
    fn open(&self, config: MemoryConfig, clock: Clock) -> Box<dyn Instance> {
        let dir = tempfile::tempdir().unwrap();
        let config = SegmentConfig {
            sync: self.sync,
            segment_bytes: self.segment_bytes,
            max_bytes: config.max_bytes,
            retain_after_end: config.retain_after_end,
            tombstone_for: config.tombstone_for,
            limits: config.limits,
            ..SegmentConfig::new(dir.path())
        };
        let mut segmented = Segmented {
            _dir: dir,
            config,
            clock,
            log: None,
        };
        segmented.open();
        Box::new(segmented)
    }
}

impl Instance for Segmented {
    fn log(&self) -> Arc<dyn StreamLog> {
        Arc::clone(self.log.as_ref().unwrap()) as _
    }

    fn crash(&mut self) {
        let log = self.log.take().map(Arc::try_unwrap);
        assert!(matches!(log, Some(Ok(_))), "somebody still holds the log");
        drop(log);
        self.open();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    conformance::run(&Memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_keep_the_contract() {
    for sync in [
        Sync::None,
        Sync::Interval(Duration::from_millis(1)),
        Sync::Always,
    ] {
        for segment_bytes in [1 << 10, 64 << 20] {
            eprintln!("{sync:?}, segments of {segment_bytes} bytes");
            conformance::run(&Segments {
                sync,
                segment_bytes,
            })
            .await;
        }
    }
}
