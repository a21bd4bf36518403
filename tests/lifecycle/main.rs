//! The life of one task, explored to the end: every order of steps of two hosts, a mover, a canceller and a broker that loses,
//! repeats and delays, with the decisions of [`lovage::model::lifecycle`] itself. No randomness: all states are visited.
//!
//! Checked in every state: a settled record never changes, attempts in records only grow and stay within the policy, no attempt
//! runs ahead of its record, and a task with nothing left to do is settled. Checked over all of them: without further faults
//! every run ends, so nothing waits for ever.
//!
//! A test run has a few faults in each life. `LOVAGE_FAULTS=any` lifts the bound: 3,864,075 states for two attempts, in minutes.
#![cfg(test)]

mod explore;
mod world;

use explore::{Explored, explore};
use world::{Rules, World};

fn with_faults(attempts: u8, faults: u8) -> Explored {
    let left = if std::env::var_os("LOVAGE_FAULTS").is_some() { None } else { Some(faults) };
    let begin = [World::submitted(), World::delayed(), World::often_lost()];
    let explored = explore(&Rules::new(attempts), &begin.map(|world| world.with_faults(left)));
    println!("{attempts} attempts, {left:?} faults: {explored}");
    explored
}

#[test]
fn a_task_of_two_attempts_ends_once_whatever_happens() {
    let explored = with_faults(2, 3);
    assert!(explored.states > 10_000, "{explored}: the world has lost most of its steps");
    assert_eq!(explored.ends, ["cancelled", "expired", "failed", "lost", "succeeded"], "some end is never reached");
}

#[test]
fn a_task_of_three_attempts_ends_once_whatever_happens() {
    let explored = with_faults(3, 2);
    assert!(explored.states > 10_000, "{explored}: the world has lost most of its steps");
    assert_eq!(explored.ends, ["cancelled", "expired", "failed", "lost", "succeeded"], "some end is never reached");
}
