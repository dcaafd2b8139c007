//! The passes over times: round, short, and close together.

use crate::case::{Case, HostLine, RuleAction, ScriptAction, ScriptLine};
use crate::shrink::minimizer::Minimizer;
use syncline_types::{SimDuration, SimTime};

impl Minimizer<'_, '_> {
    /// Rounds times, and lowers the limits of the run.
    pub(super) fn times(&mut self) {
        // All lines together first: events that must happen at one time stay together.
        let first = self.best().script.iter().map(|line| line.at).min().unwrap_or(SimTime::ZERO);
        self.round_off(first.since(SimTime::ZERO), |case, span| {
            for line in &mut case.script {
                line.at = SimTime::ZERO + span + line.at.since(first);
            }
        });
        for at in 0..self.best().script.len() {
            let now = self.best().script.get(at).map_or(SimTime::ZERO, |line| line.at);
            self.round_off(now.since(SimTime::ZERO), |case, span| {
                if let Some(line) = case.script.get_mut(at) {
                    line.at = SimTime::ZERO + span;
                }
            });
            self.change(|case| {
                if let Some(line) = case.script.get_mut(at) {
                    line.after = 0;
                }
            });
            let lasting = self.best().script.get(at).and_then(|line| line.clone().duration_mut().copied());
            self.round_off(lasting.unwrap_or_default(), |case, span| {
                if let Some(lasting) = case.script.get_mut(at).and_then(|line| line.duration_mut()) {
                    *lasting = span;
                }
            });
        }
        // The sort is stable: lines of one instant keep their order, which decides what happens first.
        self.change(|case| case.script.sort_by_key(|line| line.at));
        for at in 0..self.best().frames.len() {
            let now = self.best().frames.get(at).and_then(|frame| frame.takes.or(frame.again));
            self.round_off(now.unwrap_or_default(), |case, span| {
                let frame = &mut case.frames[at];
                if frame.takes.is_some() {
                    frame.takes = Some(span);
                } else {
                    frame.again = Some(span);
                }
            });
        }
        for latency in [0, 1, 10, 100] {
            if latency < self.best().faults.base_latency_ms
                && self.change(|case| case.faults.base_latency_ms = latency)
            {
                break;
            }
        }
        self.shorter_run();
    }

    /// Lowers durations to a small unit, and brings scripted events closer together.
    pub(super) fn gaps(&mut self) {
        for at in 0..self.best().script.len() {
            let of = |case: &Case| case.script.get(at).and_then(|line| line.clone().duration_mut().copied());
            self.lower_duration(of, |case, span| {
                if let Some(lasting) = case.script.get_mut(at).and_then(|line| line.duration_mut()) {
                    *lasting = span;
                }
            });
            self.lower_clock(at);
        }
        for at in 0..self.best().rules.len() {
            let of = |case: &Case| match case.rules.get(at)?.verdict {
                RuleAction::Delay(by) => Some(by),
                _ => None,
            };
            self.lower_duration(of, |case, span| {
                if let Some(RuleAction::Delay(by)) = case.rules.get_mut(at).map(|rule| &mut rule.verdict) {
                    *by = span;
                }
            });
        }
        // All gaps at once: few runs for a long script. A gap of no time would change the order of events.
        while self.change(halve_gaps) {}
        for at in 0..self.best().script.len() {
            let gap = |case: &Case| {
                let before = at.checked_sub(1).and_then(|before| case.script.get(before));
                let before = before.map_or(SimTime::ZERO, |line| line.at);
                case.script.get(at).map(|line| line.at.since(before))
            };
            self.lower_duration(gap, |case, span| {
                let closer = gap(case).unwrap_or_default().as_micros().saturating_sub(span.as_micros());
                for line in case.script.iter_mut().skip(at) {
                    line.at = SimTime::from_micros(line.at.as_micros().saturating_sub(closer));
                }
            });
        }
        self.shorter_run();
    }

    /// Lowers how far the clock of a scripted line is off.
    fn lower_clock(&mut self, at: usize) {
        fn clock(line: &mut ScriptLine) -> Option<&mut SimDuration> {
            match &mut line.what {
                ScriptAction::Host(HostLine::Clock(clock)) => clock.ahead.as_mut().or(clock.behind.as_mut()),
                _ => None,
            }
        }
        let of = |case: &Case| case.script.get(at).and_then(|line| clock(&mut line.clone()).copied());
        self.lower_duration(of, |case, span| {
            if let Some(by) = case.script.get_mut(at).and_then(clock) {
                *by = span;
            }
        });
    }

    /// Lowers a duration to the smallest of the round ones below it with which the case still fails, then rounds
    /// what is left.
    fn lower_duration(
        &mut self,
        of: impl Fn(&Case) -> Option<SimDuration>,
        set: impl Fn(&mut Case, SimDuration),
    ) {
        // A duration that the case does not set is not lowered.
        let Some(now) = of(self.best()) else { return };
        let smaller = ROUND_MS.into_iter().map(SimDuration::from_millis).take_while(|round| *round < now);
        for round in smaller {
            if self.change(|case| set(case, round)) {
                return;
            }
        }
        self.round_off(now, set);
    }

    /// Ends the run soon after the failure.
    fn shorter_run(&mut self) {
        // A run that ended for lack of time ends so with less time, too: that would show nothing.
        if !self.class().is_out_of_budget() {
            let enough =
                self.ended_at().map_or(SimTime::MAX, |at| SimTime::from_secs(at.as_millis() / 1_000 + 1));
            if enough < self.best().max_time {
                self.change(|case| case.max_time = enough);
            }
            self.change(|case| case.max_events = Case::default().max_events);
        }
    }
}

/// Durations that are easy to read, from the shortest.
const ROUND_MS: [u64; 13] = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 10_000, 60_000];

/// Halves the gaps between the lines of a script that is in the order of times, down to whole milliseconds.
fn halve_gaps(case: &mut Case) {
    if !case.script.is_sorted_by_key(|line| line.at) {
        return;
    }
    let half = |gap: u64| if gap > 1_000 { (gap / 2).next_multiple_of(1_000) } else { gap };
    let mut before = 0;
    let mut moved = 0;
    for line in &mut case.script {
        let at = line.at.as_micros();
        moved += half(at - before);
        line.at = SimTime::from_micros(moved);
        before = at;
    }
}
