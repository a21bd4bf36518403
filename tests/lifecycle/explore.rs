//! Visits every world that can be reached, and says how one got to the first that is wrong.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;

use super::world::{Rec, Rules, World};

/// How many states a policy may have: a step that makes the world infinite is a fault of the model.
const STATES_MAX: usize = 20_000_000;

/// What was explored.
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// The ends that were reached, in the order of their names.
    pub(crate) ends: Vec<String>,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} states, {} steps, ends {}", self.states, self.steps, self.ends.join(" "))
    }
}

/// Worlds in the order in which they were found, and the step that led to each.
struct Visited {
    worlds: Vec<World>,
    numbers: HashMap<World, u32>,
    found_by: Vec<Option<(u32, &'static str)>>,
    /// Steps without faults that lead to each.
    entries: Vec<u32>,
}

impl Visited {
    /// The number of a world.
    fn number(&mut self, world: World, by: Option<(u32, &'static str)>) -> u32 {
        *self.numbers.entry(world).or_insert_with(|| {
            self.worlds.push(world);
            self.found_by.push(by);
            self.entries.push(0);
            u32::try_from(self.worlds.len() - 1).unwrap()
        })
    }

    /// How one gets to a world, step by step.
    fn trace(&self, number: u32) -> String {
        let mut lines = Vec::new();
        let mut at = Some(number);
        while let Some(number) = at {
            let by = self.found_by[number as usize];
            lines.push(format!("{}\n    {:?}", by.map_or("begin", |(_, what)| what), self.worlds[number as usize]));
            at = by.map(|(before, _)| before);
        }
        lines.reverse();
        lines.join("\n")
    }
}

/// Visits all that can be reached from `begin`, and checks it.
pub(crate) fn explore(rules: &Rules, begin: &[World]) -> Explored {
    let mut visited = Visited { worlds: vec![], numbers: HashMap::new(), found_by: vec![], entries: vec![] };
    for world in begin {
        visited.number(*world, None);
    }
    let mut steps = 0;
    let mut next = 0;
    while next < visited.worlds.len() {
        let (world, number) = (visited.worlds[next], u32::try_from(next).unwrap());
        for step in world.steps(rules) {
            steps += 1;
            let after = visited.number(step.after, Some((number, step.what)));
            visited.entries[after as usize] += u32::from(!step.fault);
            if let Some(wrong) = step.after.wrong_after(&world, rules) {
                panic!("{wrong}:\n{}\n{}\n    {:?}", visited.trace(number), step.what, step.after);
            }
        }
        next += 1;
        assert!(next < STATES_MAX, "more than {STATES_MAX} states");
    }
    every_run_ends(rules, &mut visited);
    let settled = |world: &World| {
        if let Rec::Settled(end) = world.record { Some(format!("{end:?}").to_lowercase()) } else { None }
    };
    let ends: BTreeSet<String> = visited.worlds.iter().filter_map(settled).collect();
    Explored { states: visited.worlds.len(), steps, ends: ends.into_iter().collect() }
}

/// Without further faults no run goes in circles, and each stops only with a task that has ended: worlds are taken away once no
/// step leads to them (Kahn), and what remains is a circle.
fn every_run_ends(rules: &Rules, visited: &mut Visited) {
    let numbers = 0..u32::try_from(visited.worlds.len()).unwrap();
    let mut free: VecDeque<u32> = numbers.clone().filter(|number| visited.entries[*number as usize] == 0).collect();
    let mut taken = 0;
    while let Some(number) = free.pop_front() {
        taken += 1;
        let world = visited.worlds[number as usize];
        let steps = world.steps(rules);
        let mut steps = steps.iter().filter(|step| !step.fault).peekable();
        let stuck = steps.peek().is_none() && !matches!(world.record, Rec::Settled(_));
        assert!(!stuck, "a task waits for ever:\n{}", visited.trace(number));
        for step in steps {
            let after = visited.numbers[&step.after];
            let entries = &mut visited.entries[after as usize];
            *entries -= 1;
            if *entries == 0 {
                free.push_back(after);
            }
        }
    }
    let circle = numbers.into_iter().find(|number| visited.entries[*number as usize] > 0);
    assert_eq!(taken, visited.worlds.len(), "a run goes in circles:\n{}", visited.trace(circle.unwrap_or(0)));
}
