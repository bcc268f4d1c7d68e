use super::*;

const CONTINUES: Abilities = Abilities {
    continues: true,
    repeats: false,
    deterministic: false,
};
const SAME: Abilities = Abilities {
    continues: false,
    repeats: false,
    deterministic: true,
};
const BOTH: Abilities = Abilities {
    continues: true,
    ..SAME
};

const CUT: Cut<'_> = Cut {
    kind: FailureKind::Broken,
    latest: FailureKind::Broken,
    at: 0,
    text: Some("Once"),
    made: 1,
    most: 4,
    in_budget: true,
    ran_again: false,
};

fn legs(abilities: &[Abilities]) -> Vec<Candidate> {
    let candidate = |(place, &abilities)| Candidate {
        place,
        abilities,
        refuses_space: false,
    };
    abilities.iter().enumerate().map(candidate).collect()
}

fn decide(cut: &Cut<'_>, abilities: &[Abilities]) -> Rung {
    OnCut::Recover.decide(cut, &legs(abilities))
}

#[test]
fn each_rung_is_for_who_can() {
    let none = Abilities::default();
    for (abilities, rung) in [
        (&[][..], Rung::Tell),
        (&[none, none], Rung::Tell),
        (&[CONTINUES], Rung::Continue(0)),
        (&[none, CONTINUES], Rung::Continue(1)),
        // Who was cut goes on last, and runs again first.
        (&[CONTINUES, none, CONTINUES], Rung::Continue(2)),
        (&[SAME, SAME], Rung::RunAgain(0)),
        (&[none, SAME], Rung::RunAgain(1)),
        // Going on comes before running again.
        (&[SAME, CONTINUES], Rung::Continue(1)),
        (&[BOTH], Rung::Continue(0)),
    ] {
        assert_eq!(decide(&CUT, abilities), rung, "{abilities:?}");
        assert_eq!(OnCut::Fail.decide(&CUT, &legs(abilities)), Rung::Tell);
    }
}

#[test]
fn every_failure_has_its_way() {
    for kind in FailureKind::ALL {
        let cut = Cut {
            kind,
            latest: kind,
            ..CUT
        };
        let (here, elsewhere) = match kind {
            FailureKind::Broken | FailureKind::ServerError => (true, true),
            FailureKind::Unreachable
            | FailureKind::RateLimited
            | FailureKind::Overloaded
            | FailureKind::Silent
            | FailureKind::Invalid => (false, true),
            FailureKind::KeyRefused
            | FailureKind::ModelMissing
            | FailureKind::ContextLength
            | FailureKind::ContentFilter
            | FailureKind::BadRequest => (false, false),
        };
        let none = Abilities::default();
        let rung = |may: bool, rung| if may { rung } else { Rung::Tell };
        assert_eq!(decide(&cut, &[CONTINUES]), rung(here, Rung::Continue(0)));
        assert_eq!(decide(&cut, &[SAME]), rung(here, Rung::RunAgain(0)));
        let other = decide(&cut, &[none, CONTINUES]);
        assert_eq!(other, rung(elsewhere, Rung::Continue(1)), "{kind:?}");
        let other = decide(&cut, &[none, SAME]);
        assert_eq!(other, rung(elsewhere, Rung::RunAgain(1)), "{kind:?}");
        // What an attempt to go on comes to does not stop the next one, but for a filter's refusal.
        let later = Cut {
            latest: kind,
            ..CUT
        };
        let filtered = kind == FailureKind::ContentFilter;
        let expected = rung(!filtered, Rung::Continue(1));
        assert_eq!(decide(&later, &[none, CONTINUES]), expected, "{kind:?}");
    }
}

#[test]
fn bounds_are_kept() {
    let none = Abilities::default();
    for (cut, abilities, rung) in [
        (Cut { made: 3, ..CUT }, [none, BOTH], Rung::Continue(1)),
        (Cut { made: 4, ..CUT }, [BOTH, BOTH], Rung::Tell),
        (
            Cut {
                in_budget: false,
                ..CUT
            },
            [BOTH, none],
            Rung::Tell,
        ),
        (
            Cut {
                in_budget: false,
                ..CUT
            },
            [none, SAME],
            Rung::RunAgain(1),
        ),
        (
            Cut {
                ran_again: true,
                ..CUT
            },
            [SAME, SAME],
            Rung::Tell,
        ),
        (
            Cut {
                ran_again: true,
                ..CUT
            },
            [BOTH, none],
            Rung::Continue(0),
        ),
        (Cut { text: None, ..CUT }, [BOTH, BOTH], Rung::Tell),
        // Nothing to go on from, and white space is nothing.
        (
            Cut {
                text: Some(""),
                ..CUT
            },
            [BOTH, BOTH],
            Rung::Tell,
        ),
        (
            Cut {
                text: Some(" \n"),
                ..CUT
            },
            [BOTH, none],
            Rung::RunAgain(0),
        ),
    ] {
        assert_eq!(decide(&cut, &abilities), rung, "{cut:?}");
    }
}

#[test]
fn white_space_at_the_end_is_for_who_takes_it() {
    for (text, rung) in [
        ("Once", Rung::Continue(1)),
        ("Once ", Rung::Continue(2)),
        ("Once\u{a0}", Rung::Continue(2)),
    ] {
        let mut candidates = legs(&[Abilities::default(), CONTINUES, CONTINUES]);
        candidates[1].refuses_space = true;
        let cut = Cut {
            text: Some(text),
            ..CUT
        };
        assert_eq!(OnCut::Recover.decide(&cut, &candidates), rung, "{text:?}");
    }
}
