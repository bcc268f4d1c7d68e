use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::dialect::Handle;
use crate::event::{Mode, Status, Surface, Usage};
use crate::policy::recovery::OnCut;
use crate::record::{Accepted, Claim, Digest, End, SeamKind};

const MARK: u32 = 0x9d3c_11fe;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn record() -> impl Strategy<Value = Record> {
    let accepted = (
        "[a-z]{1,12}",
        "\\PC{0,20}",
        option::of(any::<[u8; 32]>()),
        bytes(),
        any::<u64>(),
    );
    let accepted = accepted.prop_map(|(project, model, key, request, at)| {
        Record::Accepted(Arc::new(Accepted {
            project: project.parse().expect("a sound project"),
            account: crate::record::Account::default(),
            surface: Surface::Completions,
            mode: Mode::Unary,
            model,
            created_at: UnixMillis(at),
            claim: key.map(|key| Claim {
                key: Digest(key),
                fingerprint: Digest([7; 32]),
            }),
            include_usage: at % 2 == 0,
            deadline: (at % 3 == 0).then_some(UnixMillis(at + 1_000)),
            session: (at % 5 == 0).then(|| "talk".to_owned()),
            on_cut: [None, Some(OnCut::Recover), Some(OnCut::Fail)][(at % 3) as usize],
            headers: Vec::new(),
            request,
        }))
    });
    let end = (option::of("\\PC{0,20}"), any::<u64>(), any::<bool>());
    let end = end.prop_map(|(reason, at, release_claim)| {
        Record::End(Arc::new(End {
            status: Status::Failed,
            reason,
            http_status: Some(503),
            retry_after: Some(at),
            upstream: None,
            usage: Usage {
                input_tokens: at,
                ..Usage::default()
            },
            release_claim,
            at: UnixMillis(at),
        }))
    });
    let event = (any::<u64>(), "[a-z_]{0,20}", bytes()).prop_map(|(time, name, data)| {
        Record::Event(Event {
            seq: Seq::ZERO,
            time: UnixMillis(time),
            name: name.into(),
            data,
        })
    });
    let dialled = (any::<u32>(), "\\PC{0,9}").prop_map(|(attempt, name)| {
        Record::Dialled(Dialled {
            attempt,
            upstream: name.clone(),
            model: name,
        })
    });
    let handle = prop_oneof![
        any::<u64>().prop_map(|bits| Handle::Stream(StreamId::from_bits(bits))),
        "\\PC{0,9}".prop_map(Handle::Response),
    ];
    let head = (any::<u16>(), option::of("\\PC{0,9}"), option::of(handle)).prop_map(
        |(status, request_id, handle)| {
            Record::Head(Head {
                status,
                request_id,
                handle,
            })
        },
    );
    prop_oneof![
        1 => accepted,
        1 => dialled,
        1 => head,
        6 => event,
        1 => Just(Record::Leased),
        2 => failure(),
        1 => end,
    ]
}

fn failure() -> impl Strategy<Value = Record> {
    let abandoned = (
        any::<u32>(),
        "\\PC{0,9}",
        option::of(any::<u16>()),
        any::<bool>(),
        option::of(any::<u64>()),
    );
    let abandoned = abandoned.prop_map(|(attempt, upstream, http_status, nothing_ran, used)| {
        let usage = used.map(|input_tokens| Usage {
            input_tokens,
            ..Usage::default()
        });
        Record::Abandoned(Abandoned {
            attempt,
            reason: upstream.clone(),
            instead: used.map(|_| upstream.clone()),
            upstream,
            http_status,
            nothing_ran,
            usage,
        })
    });
    let seam = (any::<u32>(), "\\PC{0,9}", any::<u64>(), any::<bool>());
    let seam = seam.prop_map(|(attempt, upstream, seq, again)| {
        Record::Seam(Seam {
            attempt,
            reason: upstream.clone(),
            upstream,
            kind: if again {
                SeamKind::RanAgain
            } else {
                SeamKind::Continued
            },
            seq: Seq::new(seq),
            usage: Usage {
                output_tokens: seq,
                estimated: again,
                ..Usage::default()
            },
        })
    });
    prop_oneof![abandoned, seam]
}

fn batch() -> impl Strategy<Value = (BatchHead, Vec<Record>)> {
    let head = (
        any::<u64>(),
        any::<u32>(),
        any::<u64>(),
        0..u64::MAX / 2,
        any::<u64>(),
        any::<u64>(),
    );
    (head, vec(record(), 1..12)).prop_map(|(fields, mut records)| {
        let (stream, epoch, position, seq, time, link) = fields;
        let mut next = seq;
        for record in &mut records {
            if let Record::Event(event) = record {
                next += 1;
                event.seq = Seq::new(next);
            }
        }
        let head = BatchHead {
            stream: StreamId::from_bits(stream),
            epoch: Epoch::new(epoch),
            position: Position(position),
            seq: Seq::new(seq),
            time: UnixMillis(time),
            link,
        };
        (head, records)
    })
}

fn encoded(head: &BatchHead, records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(MARK, head, records, &mut out).expect("a sound batch");
    out
}

proptest! {
    #[test]
    fn a_batch_round_trips_whatever_follows((head, records) in batch(), rest in bytes()) {
        let mut out = encoded(&head, &records);
        let length = out.len();
        out.extend_from_slice(&rest);
        prop_assert_eq!(super::length(MARK, &out), Some(length));
        let outline = Outline { head, count: u32::try_from(records.len()).unwrap(), bytes: length };
        prop_assert_eq!(peek(MARK, &out), Some(outline));
        prop_assert_eq!(decode(MARK, &out.into()), Decoded::Whole { outline, records });
    }

    #[test]
    fn every_truncation_is_incomplete((head, records) in batch()) {
        let whole = Bytes::from(encoded(&head, &records));
        for cut in 0..whole.len() {
            prop_assert_eq!(decode(MARK, &whole.slice(..cut)), Decoded::Incomplete, "cut at {}", cut);
        }
    }

    #[test]
    fn no_flipped_byte_gives_another_batch((head, records) in batch(), mask in 1u8..) {
        let whole = encoded(&head, &records);
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= mask;
            let decoded = decode(MARK, &flipped.into());
            prop_assert!(!matches!(decoded, Decoded::Whole { .. }), "byte {}", at);
        }
    }

    #[test]
    fn noise_never_panics(mut noise in vec(any::<u8>(), 0..400), fix: bool) {
        if fix && noise.len() >= HEAD_BYTES {
            let length = u32::try_from(noise.len()).unwrap();
            noise[..4].copy_from_slice(&MARK.to_le_bytes());
            noise[4..8].copy_from_slice(&length.to_le_bytes());
            let crc = checksum(&noise);
            noise[8..12].copy_from_slice(&crc.to_le_bytes());
        }
        let _ = decode(MARK, &noise.into());
    }
}

#[test]
fn payloads_are_slices_of_what_was_read() {
    let head = BatchHead {
        stream: StreamId::from_bits(1),
        epoch: Epoch::FIRST,
        position: Position(1),
        seq: Seq::ZERO,
        time: UnixMillis(5),
        link: 0,
    };
    let event = Event {
        seq: Seq::new(1),
        time: UnixMillis(5),
        name: Bytes::new(),
        data: Bytes::from_static(b"hello"),
    };
    let whole = Bytes::from(encoded(&head, &[Record::Event(event)]));
    let range = whole.as_ptr_range();
    let Decoded::Whole { records, .. } = decode(MARK, &whole) else {
        panic!("not whole");
    };
    let [Record::Event(event)] = records.as_slice() else {
        panic!("not one event");
    };
    assert!(range.contains(&event.data.as_ptr()), "the data was copied");
}

#[test]
fn what_cannot_be_a_batch_is_refused_and_leaves_nothing() {
    let head = BatchHead {
        stream: StreamId::from_bits(1),
        epoch: Epoch::FIRST,
        position: Position(0),
        seq: Seq::new(4),
        time: UnixMillis(0),
        link: 0,
    };
    let gap = Event {
        seq: Seq::new(6),
        time: UnixMillis(0),
        name: Bytes::new(),
        data: Bytes::new(),
    };
    let huge = Event {
        seq: Seq::new(5),
        data: Bytes::from(vec![0; limits::BATCH_BYTES]),
        ..gap.clone()
    };
    let mut out = vec![1, 2, 3];
    for records in [vec![], vec![Record::Event(gap)], vec![Record::Event(huge)]] {
        assert!(encode(MARK, &head, &records, &mut out).is_err());
        assert_eq!(out, [1, 2, 3]);
    }
}

/// As it was before requests said when they want an answer, and what becomes of one that is cut.
#[test]
fn an_older_accepted_record_is_read() {
    let json = r#"{"project":"p","surface":"messages","mode":"stream","model":"m","created_at":7}"#;
    let accepted: Accepted = serde_json::from_str(json).unwrap();
    assert_eq!(
        (accepted.deadline, accepted.session, accepted.on_cut),
        (None, None, None)
    );
}
