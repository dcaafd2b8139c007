//! An adversary among three members, and what must hold whatever it sends.

use super::mutant::{Asked, Holdings, Mutant};
use super::world::{World, config, set};
use syncline_crdt::{Register, Value};
use syncline_replica::{Notice, Target};
use syncline_storage::{Action, Interface, Metadata};
use syncline_sync::*;
use syncline_types::{Digest, Hlc, ReplicaId, SimDuration, SimTime};

pub(crate) const VICTIM: u32 = 0;
pub(crate) const ADVERSARY: u32 = 1;
pub(crate) const FRIEND: u32 = 2;

/// A register that the adversary holds, as a member would have written it.
pub(crate) fn register(name: &str, value: &str, by: ReplicaId, at_ms: u64) -> Action {
    let stamp = Hlc::new(at_ms, 0, by);
    let target = Target::named(name.as_bytes());
    Action::Add {
        id: target.id,
        ancestors: vec![],
        value: Value::Lww(Register::new(stamp, value.as_bytes())),
        metadata: Metadata { created_at: stamp, updated_at: stamp, label: target.label },
    }
}

/// The state of the adversary before it lies.
pub(crate) fn holdings(records: u64) -> Holdings {
    let mut held = Holdings::new(ADVERSARY);
    for page in 0..records.div_ceil(100) {
        let names = page * 100..((page + 1) * 100).min(records);
        let by = held.replica;
        let actions = names.map(|n| register(&format!("hostile {n}"), "held", by, 500 + page)).collect();
        held.write(actions, SimTime::from_millis(600));
    }
    held
}

/// The handshake response with a false claim, and the verdict that follows from the claim.
pub(crate) fn claim(asked: &Asked<'_>, honest: Response, lie: impl FnOnce(&mut SyncHandshake)) -> Response {
    let (Request::Handshake(ours), Response::Handshake(mut reply)) = (asked.request, honest.clone()) else {
        return honest;
    };
    lie(&mut reply.theirs);
    reply.verdict = select_protocol(ours, &reply.theirs).protocol.kind();
    Response::Handshake(reply)
}

pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) mutant: Mutant,
    /// The protocol of the victim's sessions.
    pub(crate) wish: SyncProtocolKind,
    /// Whether the victim has no state when it meets the adversary.
    pub(crate) fresh: bool,
    /// How some session with the adversary must end.
    pub(crate) ends: fn(&Outcome) -> bool,
    /// Whether no session with the adversary may converge.
    pub(crate) alone: bool,
}

pub(crate) fn case(
    what: &'static str,
    wish: SyncProtocolKind,
    ends: fn(&Outcome) -> bool,
    twist: impl FnMut(&Asked<'_>, Response) -> Response + 'static,
) -> Case {
    Case { what, mutant: Mutant::new(holdings(30), twist), wish, fresh: false, ends, alone: true }
}

impl Case {
    pub(crate) fn against_a_fresh_victim(self) -> Self {
        Self { fresh: true, ..self }
    }

    /// The lie cannot be told from the truth: it must only be harmless.
    pub(crate) fn harmless(self) -> Self {
        Self { alone: false, ..self }
    }

    /// Runs the case and checks what must hold whatever the adversary did.
    pub(crate) fn run(self) -> World {
        let what = self.what;
        let fresh = self.fresh;
        let mut world = World::new();
        let mut own = config(VICTIM, 3);
        own.requested_protocol = Some(self.wish);
        own.session_deadline = SimDuration::from_secs(10);
        world.add(own);
        world.add_hostile(self.mutant);
        world.add(config(FRIEND, 3));
        if !fresh {
            world.write(VICTIM, vec![set("mine", "precious")]);
        }
        world.link(VICTIM, ADVERSARY);
        world.run_for(SimDuration::from_secs(40));
        world.write(VICTIM, vec![set("mine", "precious")]);
        world.link(VICTIM, FRIEND);
        for round in 0..20 {
            world.write(FRIEND, vec![set(&format!("theirs {round}"), "precious")]);
            world.run_for(SimDuration::from_secs(2));
        }
        world.run_for(SimDuration::from_secs(90));

        let now = world.now;
        let victim = world.honest(VICTIM);
        let root = victim.sound_root();
        assert_eq!(victim.read("mine").as_deref(), Some(&b"precious"[..]), "{what}");
        for round in 0..20 {
            assert!(victim.read(&format!("theirs {round}")).is_some(), "{what}: {round} has arrived");
        }
        let horizon = Interface::open(victim.store.clone()).unwrap().horizon();
        assert!(horizon.physical_ms() <= now.as_millis(), "{what}: {horizon}");
        let outcomes = victim.outcomes(ADVERSARY);
        assert!(outcomes.iter().any(|(outcome, _)| (self.ends)(outcome)), "{what}: {:?}", outcomes.last());
        if self.alone {
            // A session at every heartbeat would be some three hundred, and one after each that leaves a
            // sync pending more than a thousand. Each of the twenty writes gives a peer a few more chances.
            assert!(outcomes.len() < 80, "{what}: {} sessions, {:?}", outcomes.len(), outcomes.last());
            assert!(!outcomes.iter().any(|(o, _)| matches!(o, Outcome::Converged { .. })), "{what}");
        }
        if !fresh {
            let taken = |notice: &Notice| {
                matches!(notice, Notice::SessionEnded { protocol: Some(SyncProtocolKind::Snapshot), .. })
            };
            assert!(!victim.notices.iter().any(taken), "{what}: a snapshot on a replica with state");
        }
        assert_eq!(world.honest(FRIEND).sound_root(), root, "{what}: the honest replicas are equal");
        world
    }
}

pub(crate) fn is_protocol(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(FailureReason::Protocol(_)))
}

pub(crate) fn is_too_long(outcome: &Outcome) -> bool {
    *outcome == Outcome::Failed(FailureReason::TooLong)
}

pub(crate) fn has_converged(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Converged { .. })
}

/// An adversary whose root always differs, so that there is always something to request.
pub(crate) fn differing(asked: &Asked<'_>, honest: Response) -> Response {
    let root = Digest([0xfd; 32]);
    match claim(asked, honest, |theirs| theirs.root_hash = root) {
        Response::Exchange(reply) => Response::Exchange(ExchangeReply { root, ..reply }),
        other => other,
    }
}
