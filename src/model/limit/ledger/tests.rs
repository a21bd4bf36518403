#![cfg(test)]
//! Tables of a ledger's decisions, and a small world of tasks that ask, wait, die and leave in any order.

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn ledger(rate: Option<&str>, concurrency: Option<u32>) -> Ledger {
    let rule = Rule { rate: rate.map(|rate| rate.parse().unwrap()), burst: None, concurrency };
    Ledger::new(Limit { name: "task m/t".to_owned(), rule })
}

fn names(tasks: &[&str]) -> Vec<String> {
    tasks.iter().map(|task| (*task).to_owned()).collect()
}

#[test]
fn a_place_is_held_until_its_task_leaves_and_asking_again_changes_nothing() {
    let mut ledger = ledger(None, Some(2));
    assert_eq!(
        [ledger.ask("a", NOW), ledger.ask("b", NOW), ledger.ask("c", NOW)],
        [Answer::Go, Answer::Go, Answer::Wait]
    );
    assert_eq!(ledger.ask("a", NOW), Answer::Go, "its host died, and it was delivered again");
    assert_eq!(ledger.places.len(), 2);
    ledger.leave("a");
    assert_eq!(ledger.ask("c", NOW), Answer::Go);
}

#[test]
fn nobody_overtakes_those_who_wait() {
    let mut ledger = ledger(None, Some(1));
    ledger.ask("a", NOW);
    assert!(ledger.waits(NOW), "a bell is set");
    assert!(!ledger.waits(NOW), "once");
    ledger.leave("a");
    assert_eq!(ledger.ask("late", NOW), Answer::Wait);
    assert_eq!(ledger.invite(&names(&["b", "c"]), true, NOW), ["b"]);
    assert!(ledger.waiting && ledger.bell.is_some());
    assert_eq!((ledger.ask("b", NOW), ledger.ask("c", NOW)), (Answer::Go, Answer::Wait));
    ledger.leave("b");
    assert_eq!(ledger.invite(&names(&["c"]), true, NOW), ["c"]);
    assert!(!ledger.waiting && ledger.bell.is_none());
}

#[test]
fn an_invitation_that_was_lost_is_sent_again() {
    let mut ledger = ledger(None, Some(1));
    assert_eq!(ledger.invite(&names(&["a", "b"]), true, NOW), ["a"]);
    assert_eq!(ledger.invite(&names(&["a", "b"]), true, NOW), ["a"]);
    assert_eq!(ledger.places.len(), 1);
}

#[test]
fn a_lost_bell_is_set_again() {
    let mut ledger = ledger(None, Some(1));
    ledger.ask("a", NOW);
    assert!(ledger.waits(NOW));
    let bell = ledger.bell.unwrap();
    assert_eq!(bell, NOW.after(NET));
    assert!(!ledger.waits(bell.after(Duration::from_millis(500))), "it is only late");
    assert!(ledger.waits(bell.after(BELL_LOST)));
}

#[test]
fn a_bell_that_rang_is_followed_by_another() {
    let mut ledger = ledger(None, Some(1));
    ledger.ask("a", NOW);
    ledger.waits(NOW);
    let rang = NOW.after(NET);
    ledger.rang(NOW);
    assert_eq!(ledger.bell, Some(rang), "not yet");
    ledger.rang(rang);
    assert!(ledger.waits(rang));
    assert_eq!(ledger.bell, Some(rang.after(NET)));
    ledger.soon(rang);
    assert_eq!(ledger.bell, Some(rang.after(SOON)));
}

#[test]
fn a_rate_invites_as_many_as_may_start_and_tells_when_the_next_may() {
    let mut ledger = ledger(Some("10/s"), None);
    assert_eq!((ledger.ask("a", NOW), ledger.ask("b", NOW)), (Answer::Go, Answer::Wait));
    assert!(ledger.waits(NOW));
    assert_eq!(ledger.bell, Some(NOW.after(BELL_MIN)));
    let later = NOW.after(Duration::from_millis(100));
    let invited = ledger.invite(&names(&["b", "c", "d", "e", "f"]), true, later);
    assert_eq!(invited, ["b", "c", "d", "e"], "one for now, three for the lateness of timers");
    assert_eq!(ledger.invitations(later), 0, "the invited count until they start");
    for task in invited {
        assert_eq!(ledger.ask(&task, later), Answer::Go, "{task}");
    }
    assert!(ledger.places.is_empty(), "a rate holds nobody");
}

#[test]
fn who_comes_too_early_keeps_its_place() {
    let mut ledger = ledger(Some("1/m"), None);
    ledger.ask("a", NOW);
    ledger.places.push(Place { task: "b".to_owned(), since: NOW, started: false });
    let Answer::Later(at) = ledger.ask("b", NOW) else { panic!("it is too early") };
    assert_eq!(at, NOW.after(Duration::from_millis(59_700)));
    assert_eq!(ledger.ask("b", at), Answer::Go);
}

#[test]
fn a_place_whose_task_is_gone_is_free_again() {
    let mut ledger = ledger(None, Some(2));
    ledger.ask("a", NOW);
    ledger.ask("b", NOW.after(Duration::from_secs(5)));
    let later = NOW.after(BELIEVED_FOR + Duration::from_millis(1));
    assert_eq!(ledger.doubtful(later, 8), ["a"]);
    ledger.looked("a", false, later);
    assert_eq!(ledger.ask("c", later), Answer::Go);
    let later = later.after(BELIEVED_FOR * 2);
    assert_eq!(ledger.doubtful(later, 1), ["b"]);
    ledger.looked("b", true, later);
    assert_eq!(ledger.doubtful(later, 8), ["c"]);
}

#[test]
fn only_a_ledger_that_says_nothing_goes() {
    let mut limited = ledger(Some("1/m"), Some(1));
    limited.ask("a", NOW);
    assert_eq!(limited.keep_for(NOW), None);
    limited.leave("a");
    assert_eq!(limited.keep_for(NOW), Some(Duration::from_secs(120)));
    limited.waits(NOW);
    assert_eq!(limited.keep_for(NOW), None);
}

/// A world of some tasks under one limit, driven by random steps.
struct World {
    ledger: Ledger,
    line: Vec<String>,
    /// Invited, on their way to a host; also those that came too early.
    queued: Vec<String>,
    running: Vec<String>,
    starts: Vec<(i64, String)>,
    /// Cancelled, and gone without a word to the ledger.
    gone: Vec<String>,
    now: Timestamp,
    next: u32,
}

impl World {
    fn new(ledger: Ledger) -> Self {
        let (line, queued, running, starts, gone) = Default::default();
        Self { ledger, line, queued, running, starts, gone, now: NOW, next: 0 }
    }

    /// Everybody ends, and all that wait come to their turn.
    fn finish(&mut self) {
        for _ in 0..4_000 {
            self.step(3, 200);
            for task in std::mem::take(&mut self.queued) {
                self.deliver(task);
            }
            for task in std::mem::take(&mut self.running) {
                self.ledger.leave(&task);
            }
            if self.line.is_empty() && self.queued.is_empty() {
                return;
            }
        }
    }

    fn deliver(&mut self, task: String) {
        match self.ledger.ask(&task, self.now) {
            Answer::Go => {
                self.starts.push((self.now.as_millis(), task.clone()));
                self.running.push(task);
            }
            Answer::Wait => {
                self.line.push(task);
                self.ledger.waits(self.now);
            }
            Answer::Later(_) => self.queued.push(task),
        }
    }

    /// Looks for those of whom nothing was heard in a while, as whoever looks after the line does.
    fn look(&mut self) {
        for task in self.ledger.doubtful(self.now, 16) {
            let there = !self.gone.contains(&task);
            self.ledger.looked(&task, there, self.now);
        }
    }

    fn ring(&mut self) {
        self.look();
        for task in self.ledger.invite(&self.line.clone(), true, self.now) {
            self.line.retain(|waiting| *waiting != task);
            self.queued.push(task);
        }
        if self.ledger.waiting {
            self.ledger.waits(self.now);
        }
    }

    /// A host dies with one of its tasks, which is delivered again; or a task is cancelled wherever it is, and nobody gives its
    /// place back.
    fn fail(&mut self, choice: u8) {
        match self.running.pop() {
            Some(task) if choice.is_multiple_of(2) => self.queued.push(task),
            Some(task) => self.gone.push(task),
            None => self.gone.extend(self.queued.pop()),
        }
    }

    fn step(&mut self, choice: u8, millis: i64) {
        self.now = Timestamp::from_millis(self.now.as_millis() + millis);
        match choice % 5 {
            0 | 1 => {
                self.next += 1;
                self.deliver(format!("t{:04}", self.next));
            }
            2 if !self.running.is_empty() => {
                let task = self.running.remove(usize::from(choice) % self.running.len());
                self.ledger.leave(&task);
            }
            3 => self.ring(),
            _ if !self.queued.is_empty() => {
                let task = self.queued.remove(0);
                self.deliver(task);
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_nothing_runs_twice_and_no_bound_is_passed(
        steps in proptest::collection::vec((any::<u8>(), 0_i64..200), 1..400),
        concurrency in proptest::option::of(1_u32..5),
        rate in proptest::option::of(1_u32..50),
    ) {
        let rate = rate.map(|rate| format!("{rate}/s"));
        let ledger = ledger(rate.as_deref(), concurrency);
        let mut world = World::new(ledger);
        let check = |world: &World| {
            let most = concurrency.map_or(usize::MAX, |most| most as usize);
            world.running.len() <= most && (world.line.is_empty() || world.ledger.waiting && world.ledger.bell.is_some())
        };
        for (choice, millis) in steps {
            world.step(choice, millis);
            prop_assert!(check(&world), "{:?}", world.ledger);
        }
        world.finish();
        prop_assert!(world.line.is_empty() && world.queued.is_empty(), "{:?}", world.ledger);
        let mut ran: Vec<&String> = world.starts.iter().map(|(_, task)| task).collect();
        ran.sort_unstable();
        let all: Vec<String> = (1..=world.next).map(|n| format!("t{n:04}")).collect();
        prop_assert!(ran.iter().map(|task| task.as_str()).eq(all.iter().map(String::as_str)), "once each");
    }
}

proptest! {
    /// Hosts die and tasks are cancelled at any time: no rate and no concurrency is passed, no place is lost for good, and whoever
    /// is still wanted has its turn.
    #[test]
    fn the_dead_and_the_cancelled_take_nobodys_turn(
        steps in proptest::collection::vec((any::<u8>(), 0_i64..400, any::<bool>()), 1..300),
        concurrency in proptest::option::of(1_u32..4),
        rate in proptest::option::of(1_u32..50),
        burst in 1_u32..5,
    ) {
        let rule = Rule {
            rate: rate.map(|rate| format!("{rate}/s").parse().unwrap()),
            burst: rate.map(|_| burst),
            concurrency,
        };
        let mut world = World::new(Ledger::new(Limit { name: "task m/t".to_owned(), rule }));
        for (choice, millis, fails) in steps {
            world.step(choice, millis);
            if fails && choice > 127 {
                world.fail(choice);
            }
            prop_assert!(concurrency.is_none_or(|most| world.ledger.places.len() <= most as usize), "{:?}", world.ledger);
        }
        world.finish();
        prop_assert!(world.line.is_empty() && world.queued.is_empty(), "{:?}", world.ledger);
        // Places of those who are gone are free once they were looked for.
        world.now = world.now.after(BELIEVED_FOR + Duration::from_millis(1));
        // Each look is at some of them.
        (0..8).for_each(|_| world.look());
        prop_assert!(world.ledger.places.is_empty(), "{:?}", world.ledger);
        let all = (1..=world.next).map(|n| format!("t{n:04}"));
        for task in all.filter(|task| !world.gone.contains(task)) {
            prop_assert!(world.starts.iter().any(|(_, started)| *started == task), "{} never ran", task);
        }
        if let Some(rate) = rule.rate {
            let lateness = super::super::bucket::LATENESS;
            for (first, (begin, _)) in world.starts.iter().enumerate() {
                for (last, (end, _)) in world.starts.iter().enumerate().skip(first) {
                    let window = Duration::from_millis((end - begin).unsigned_abs()) + lateness;
                    let most = u128::from(burst) + window.as_nanos() / rate.interval().as_nanos();
                    prop_assert!((last - first + 1) as u128 <= most, "{} starts from {} to {}", last - first + 1, begin, end);
                }
            }
        }
    }
}
