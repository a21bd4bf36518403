//! Random flows with random faults: every run ends, always the same, whatever is repeated, lost, reordered or killed.
//!
//! `LOVAGE_SEED` replays one flow, `LOVAGE_FLOWS` says how many are played.

use lovage::workflow::journal::{Ending, Event};
use lovage::workflow::run::Run;
use serde_json::{Value, json};

use crate::world::{World, replay, root_id};

/// A source of choices.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        // Splitmix, so that neighbouring seeds are far apart.
        let mixed = (seed.wrapping_add(1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    }
}

/// A random node; `depth` bounds its height.
fn node(dice: &mut Dice, depth: u64) -> Value {
    let kind = if depth == 0 { dice.roll(6) } else { dice.roll(18) };
    let mut node = match kind {
        0 | 1 => json!({"task": "canvas/id"}),
        2 => json!({"task": "canvas/flaky"}),
        3 => json!({"value": {"was": "${prev}", "n": dice.roll(9)}}),
        4 => json!({"sleep": format!("{}s", dice.roll(100))}),
        5 => json!({"task": "canvas/fail", "input": {"kind": "refused"}}),
        6..=8 => json!({"chain": nodes(dice, depth)}),
        9..=11 => json!({"group": nodes(dice, depth)}),
        12 => json!({"chord": {"header": nodes(dice, depth), "body": node(dice, depth - 1)}}),
        13 => json!({"map": node(dice, depth - 1), "over": [1, 2, 3, 4], "concurrency": 1 + dice.roll(4)}),
        14 => json!({
            "choose": [{"when": format!("{} == 1", dice.roll(2)), "then": node(dice, depth - 1)}],
            "else": node(dice, depth - 1),
        }),
        15 => json!({"loop": node(dice, depth - 1), "while": format!("index < {}", dice.roll(3)), "max": 5}),
        16 => json!({"poll": node(dice, depth - 1), "every": "5s", "until": "index >= 1", "timeout": "9d"}),
        _ => json!({"task": "canvas/replace", "args": [node(dice, depth - 1)]}),
    };
    decorate(dice, depth, &mut node);
    node
}

fn decorate(dice: &mut Dice, depth: u64, node: &mut Value) {
    if depth == 0 {
        return;
    }
    let fields = node.as_object_mut().unwrap();
    let joins = ["group", "map"].iter().any(|kind| fields.contains_key(*kind));
    match dice.roll(14) {
        0 => drop(fields.insert("catch".into(), self::node(dice, depth - 1))),
        1 => drop(fields.insert("on_failure".into(), self::node(dice, depth - 1))),
        2 => drop(fields.insert("on_success".into(), self::node(dice, depth - 1))),
        3 => drop(fields.insert("compensate".into(), json!({"task": "canvas/id"}))),
        4 if joins => drop(fields.insert("on_error".into(), json!("collect"))),
        5 if joins => drop(fields.insert("on_error".into(), json!("finish"))),
        6 => drop(fields.insert("timeout".into(), json!("30d"))),
        _ => {}
    }
}

fn nodes(dice: &mut Dice, depth: u64) -> Vec<Value> {
    (0..dice.roll(4)).map(|_| node(dice, depth - 1)).collect()
}

/// Which of several failing members is first depends on the order.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
fn scrub(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.contains_key("kind") {
                fields.remove("step");
            }
            fields.values_mut().for_each(scrub);
        }
        Value::Array(items) => items.iter_mut().for_each(scrub),
        _ => {}
    }
}

/// What must not depend on order or faults: the output, or that it failed.
fn gist(world: &World) -> String {
    match world.end().map(|end| world.whole(end).result) {
        Some(Ending::Succeeded(output)) => {
            let mut output = output.to_json().unwrap();
            scrub(&mut output);
            output.to_string()
        }
        // Which of several failures comes first depends on the order too.
        Some(Ending::Failed(_)) => "failed".to_owned(),
        other => panic!("{other:?}, waits for {:?}", world.run().waiting()),
    }
}

fn play(document: &Value, seed: u64, faults: u32) -> World {
    let mut world = World::new(seed).with_faults(faults);
    world.inline_max = if seed % 3 == 2 { 3 } else { usize::MAX };
    world.start(document, Some(&json!([1, 2])), &[]);
    world.play();
    world
}

fn given(name: &str) -> Option<u64> {
    std::env::var_os(name).and_then(|text| text.into_string().ok()?.parse().ok())
}

#[test]
fn random_flows_end_the_same_whatever_goes_wrong() {
    let flows = given("LOVAGE_FLOWS").unwrap_or(400);
    let seeds = match given("LOVAGE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..flows + 1,
    };
    let began = std::time::Instant::now();
    let (mut plays, mut ended_well) = (0u32, 0u32);
    for seed in seeds {
        let document = node(&mut Dice::new(seed), 3);
        let replayed = std::panic::catch_unwind(|| {
            let quiet = play(&document, 0, 0);
            let wanted = gist(&quiet);
            for (order, faults) in [(seed * 3 + 1, 0), (seed * 3 + 2, 6)] {
                let world = play(&document, order, faults);
                assert_eq!(gist(&world), wanted, "LOVAGE_SEED={seed}, order {order}");
            }
            resumed_anywhere(&quiet, seed);
            matches!(quiet.end().unwrap().result, Ending::Succeeded(_))
        });
        match replayed {
            Ok(well) => ended_well += u32::from(well),
            Err(panic) => {
                println!("LOVAGE_SEED={seed}\n{document:#}");
                std::panic::resume_unwind(panic);
            }
        }
        plays += 3;
    }
    let each = began.elapsed() / plays.max(1);
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let (flows_a_minute, plays_a_minute) = (f64::from(plays / 3) / minutes, f64::from(plays) / minutes);
    println!("{plays} plays, {each:?} each, {ended_well} flows ended well");
    println!("{flows_a_minute:.0} flows a minute, each played three times: {plays_a_minute:.0} runs a minute");
}

/// Whatever part of a journal was written: a coordinator that reads it asks for what is missing, and folding the rest leads to the
/// same state as folding all.
fn resumed_anywhere(world: &World, seed: u64) {
    let journal = &world.lives[&root_id()].journal;
    let Event::Start(start) = &journal[0].event else { panic!("it begins with its start") };
    let mut whole = Run::new(start).unwrap();
    for (at, record) in journal.iter().enumerate() {
        replay(&mut whole, record, world.stored());
        if at % 7 != usize::try_from(seed % 7).unwrap() {
            continue;
        }
        let mut resumed = Run::new(start).unwrap();
        for record in &journal[..=at] {
            replay(&mut resumed, record, world.stored());
        }
        // Twice the same record, and asking in between, change nothing.
        let asked = resumed.outstanding();
        replay(&mut resumed, record, world.stored());
        assert_eq!(resumed.outstanding(), asked, "after record {at}");
        assert_eq!(whole.clone().outstanding(), asked, "after record {at}");
        let going = !resumed.is_over();
        assert!(!going || !asked.is_empty(), "after record {at} it asks for nothing and has not ended");
    }
}

#[test]
fn a_fault_at_every_single_place_changes_nothing() {
    let document = json!({"chain": [
        {"group": [{"task": "canvas/id"}, {"task": "canvas/flaky"}, {"map": {"value": "${item + 1}"}, "over": [1, 2]}]},
        {"task": "canvas/replace", "args": [{"chain": [{"sleep": "1s"}, {"task": "canvas/id"}]}],
         "compensate": {"task": "canvas/id"}},
        {"task": "canvas/fail", "input": {"kind": "refused"}, "catch": {"value": "mended"}},
    ]});
    let quiet = play(&document, 0, 0);
    let (wanted, steps) = (gist(&quiet), quiet.steps);
    for kind in 0..3 {
        for at in 0..steps {
            let mut world = World::new(0);
            world.fault_at = Some((at, kind));
            world.start(&document, Some(&json!([1, 2])), &[]);
            world.play();
            assert_eq!(gist(&world), wanted, "fault {kind} before step {at}");
        }
    }
}
