//! Properties of sessions between any two states.

use super::side::Side;
use super::side::*;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use syncline_storage::Prefix;
use syncline_sync::*;
use syncline_types::{ContextId, EntityId, ReplicaId};

proptest! {
    // Fewer without optimization; `.ci/run release-tests` runs them all.
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 2_000 }))]

    /// **I4**: every protocol that compares two states ends with the join of both.
    ///
    /// Promises: I4
    #[test]
    fn every_protocol_ends_in_the_same_state(
        shared in vec(action(), 0..150),
        ours in vec(action(), 0..60),
        theirs in vec(action(), 0..60),
        duplicated: bool,
        // Sometimes enough entities that answers are paged and subtrees are too large to send.
        crowd in prop_oneof![99 => Just(0u64), 1 => Just(5_000u64)],
    ) {
        let shared = [shared, many(1_000, 1_000 + crowd, 3)].concat();
        let whole = Side::new(9, &[shared.clone(), ours.clone(), theirs.clone()].concat());
        for protocol in SyncProtocolKind::EXECUTABLE {
            let mut a = Side::new(1, &[shared.clone(), ours.clone()].concat());
            let mut b = Side::new(2, &[shared.clone(), theirs.clone()].concat());
            a.requested_protocol = Some(protocol);
            let (outcome, _, selected) = run(&mut a, &mut b, duplicated, undisturbed);
            prop_assert_eq!(outcome, Outcome::Converged { root: whole.root() }, "{} {:?}", protocol, selected);
            prop_assert_eq!((a.root(), b.root()), (whole.root(), whole.root()), "{}", protocol);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn one_session_joins_both_sides(
        shared in vec(action(), 0..150),
        ours in vec(action(), 0..60),
        theirs in vec(action(), 0..60),
        duplicated: bool,
        adaptive: bool,
    ) {
        let whole = Side::new(9, &[shared.clone(), ours.clone(), theirs.clone()].concat());
        let mut a = Side::new(1, &[shared.clone(), ours].concat());
        let mut b = Side::new(2, &[shared, theirs].concat());
        a.selection = if adaptive { Selection::Adaptive } else { Selection::Table };
        let (outcome, ..) = run(&mut a, &mut b, duplicated, undisturbed);
        prop_assert_eq!(outcome, Outcome::Converged { root: whole.root() });
        prop_assert_eq!((a.root(), b.root()), (whole.root(), whole.root()));
    }

    #[test]
    fn session_under_writes_claims_compared_root(
        ours in vec(action(), 0..80),
        theirs in vec(action(), 0..80),
        late in vec((0u64..6, any::<bool>(), action()), 0..20),
        protocol in select(SyncProtocolKind::EXECUTABLE.to_vec()),
    ) {
        let mut a = Side::new(1, &ours);
        let mut b = Side::new(2, &theirs);
        a.requested_protocol = Some(protocol);
        let mut roots_of_b = vec![b.root()];
        let (outcome, ..) = run(&mut a, &mut b, false, |round, a, b| {
            roots_of_b.push(b.root());
            for (at, to_a, action) in &late {
                if *at == round {
                    if *to_a { a.write(std::slice::from_ref(action)) } else { b.write(std::slice::from_ref(action)) }
                }
            }
            roots_of_b.push(b.root());
        });
        roots_of_b.push(b.root());
        match outcome {
            Outcome::Converged { root } => prop_assert!(roots_of_b.contains(&root)),
            Outcome::SyncPending(reason) => prop_assert_eq!(reason, RetryReason::NewerWrites),
            Outcome::Failed(reason) => prop_assert!(false, "{}", reason),
        }
        let (outcome, ..) = run(&mut a, &mut b, false, undisturbed);
        prop_assert!(matches!(outcome, Outcome::Converged { .. }), "{:?}", outcome);
        prop_assert_eq!(a.root(), b.root());
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(Frame::from_wire(&bytes, ContextId::default()).is_err());
        // The same bytes with a valid checksum: the decoder itself must refuse them.
        let mut sealed = crc(&bytes).to_le_bytes().to_vec();
        sealed.extend(&bytes);
        if let Ok(frame) = Frame::from_wire(&sealed, ContextId::default()) {
            prop_assert_eq!(frame.to_wire(ContextId::default()), sealed);
        }
    }

    #[test]
    fn altered_frame_is_refused(action in action(), at: usize, flip in 1u8..=255) {
        let dot = Dot { author: ReplicaId::from_u64(1), seq: 1 };
        let delta = Delta::new(dot, vec![], stamp(1, 1), vec![action]);
        let frame = Frame { incarnation: 1, message: Message::Gossip(Gossip::Delta(delta)) };
        let mut wire = frame.to_wire(ContextId::default());
        let at = at % wire.len();
        wire[at] ^= flip;
        prop_assert!(Frame::from_wire(&wire, ContextId::default()).is_err());
    }

    #[test]
    fn damaged_messages_decode_canonically(
        actions in vec(action(), 1..40),
        at: usize,
        byte: u8,
    ) {
        let mut b = Side::new(2, &actions);
        let key = b.begin().sketch_key();
        let entity = EntityId::ROOT;
        let prefix = Prefix::EMPTY;
        let questions = vec![
            Question::Node(NodeAddress { entity, prefix }),
            Question::Compare { address: NodeAddress { entity, prefix }, ours: Box::default() },
            Question::Children { entity, after: None },
            Question::Subtree { entity, prefix, after: None },
            Question::Missing(BloomFilter::new(64, 1)),
            Question::Cells { from: 3, count: 9 },
            Question::ByShortId(ShortIds::of(actions.iter().map(|action| key.short_id(action.id())))),
            Question::SymbolFilter(SymbolFilter::new(64, 9, 1)),
        ];
        let wants = vec![EntityId::ROOT, actions[0].id()];
        let asked = ExchangeRequest { questions, wants, ..ExchangeRequest::default() };
        let mut a = Side::new(1, &actions[1..]);
        a.selection = Selection::Adaptive;
        let handshakes = [a.describe(), b.describe()].map(|ours| Request::Handshake(Box::new(ours)));
        for request in handshakes.into_iter().chain([Request::Exchange(asked)]) {
            let response = b.respond(&request);
            let message = Message::Response { session: SessionId(1), id: RequestId(1), response };
            let wire = Frame { incarnation: 1, message }.to_wire(ContextId::default());
            let mut body = wire[4..].to_vec();
            let at = at % body.len();
            body[at] = byte;
            let mut sealed = crc(&body).to_le_bytes().to_vec();
            sealed.extend(&body);
            if let Ok(frame) = Frame::from_wire(&sealed, ContextId::default()) {
                prop_assert_eq!(frame.to_wire(ContextId::default()), sealed);
            }
        }
    }
}
