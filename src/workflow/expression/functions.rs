//! The functions of expressions: those of CEL that are named here, and those that charge the meter.

use std::sync::{Arc, LazyLock};

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelString, DYN_TYPE, STRING_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};

use super::bounds::{Meter, Refused, text_len};

/// The variable that holds the meter. No source can write it.
pub(super) const METER: &str = "@meter";

/// Pays for looking at a value.
pub(super) const LOOK: &str = "@look";
/// Pays for keeping a copy of a value.
pub(super) const KEEP: &str = "@keep";
/// Pays for the text of a string, and nothing for what is in a list or a map.
pub(super) const SIZE: &str = "@size";
/// Pays for a value that indexes, which must not be a double.
pub(super) const INDEX: &str = "@index";
/// Pays for a list to go over; the keys of a map are sorted, so that the same values give the same result.
pub(super) const RANGE: &str = "@range";
/// Pays for one pass of a comprehension.
pub(super) const PASS: &str = "@pass";
/// `matches`, within bounds.
pub(super) const MATCHES: &str = "@matches";

/// Functions that take their values in brackets, with the number of arguments. None reads a clock or anything of this machine.
const GLOBAL: [(&str, usize); 12] = [
    ("bool", 1),
    ("bytes", 1),
    ("double", 1),
    ("duration", 1),
    ("dyn", 1),
    ("int", 1),
    ("matches", 2),
    ("size", 1),
    ("string", 1),
    ("timestamp", 1),
    ("type", 1),
    ("uint", 1),
];

/// Functions that follow a value, with the least and the greatest number of arguments.
const MEMBER: [(&str, usize, usize); 15] = [
    ("contains", 1, 1),
    ("endsWith", 1, 1),
    ("getDate", 0, 1),
    ("getDayOfMonth", 0, 1),
    ("getDayOfWeek", 0, 1),
    ("getDayOfYear", 0, 1),
    ("getFullYear", 0, 1),
    ("getHours", 0, 1),
    ("getMilliseconds", 0, 1),
    ("getMinutes", 0, 1),
    ("getMonth", 0, 1),
    ("getSeconds", 0, 1),
    ("matches", 1, 1),
    ("size", 0, 0),
    ("startsWith", 1, 1),
];

/// Macros: with a wrong number of arguments the parser leaves them as calls.
const MACROS: [&str; 7] = ["all", "exists", "existsOne", "exists_one", "filter", "has", "map"];

/// What is wrong with a call of a function.
pub(super) fn refusal(name: &str, follows: bool, arguments: usize) -> Option<String> {
    let global = GLOBAL.iter().find(|(known, _)| *known == name);
    let member = MEMBER.iter().find(|(known, ..)| *known == name);
    let right = match (follows, global, member) {
        (true, _, Some((_, least, most))) => (*least..=*most).contains(&arguments),
        (false, Some((_, takes)), _) => *takes == arguments,
        (true, Some(_), None) => return Some(format!("{name} does not follow a value: write {name}(value)")),
        (false, None, Some(_)) => return Some(format!("{name} follows a value: write value.{name}(...)")),
        (_, None, None) if MACROS.contains(&name) => false,
        (_, None, None) => return Some(format!("there is no function {name}")),
    };
    (!right).then(|| format!("{name} does not take {arguments} arguments like this"))
}

/// The functions, built once.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::default().with_optional_support(false).with_stdlib();
    let any = || vec![DYN_TYPE, DYN_TYPE];
    // The names are ours alone, so none is declared twice; a function that is missing fails all tests.
    let added = [
        environment.add_overload(LOOK, LOOK, any(), look),
        environment.add_overload(KEEP, KEEP, any(), keep),
        environment.add_overload(SIZE, SIZE, any(), size),
        environment.add_overload(INDEX, INDEX, any(), index),
        environment.add_overload(RANGE, RANGE, any(), range),
        environment.add_overload(PASS, PASS, any(), pass),
        environment.add_overload(MATCHES, MATCHES, vec![DYN_TYPE, STRING_TYPE, STRING_TYPE], matches),
    ];
    debug_assert!(added.iter().all(Result::is_ok));
    Arc::new(environment)
});

type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

fn failure(function: &str, message: impl Into<String>) -> ExecutionError {
    ExecutionError::FunctionError { function: function.to_owned(), message: message.into() }
}

impl From<Refused> for ExecutionError {
    fn from(Refused: Refused) -> Self {
        failure(METER, "")
    }
}

/// The meter and the value that stands behind it.
fn metered<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<(Meter, CowVal<'b, 'v>), ExecutionError> {
    let mut arguments = arguments.into_iter();
    let meter = arguments.next().and_then(|meter| meter.downcast_ref::<Meter>().cloned());
    meter.zip(arguments.next()).ok_or_else(|| failure(METER, "no meter"))
}

fn look<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let (meter, value) = metered(arguments)?;
    meter.value(value.as_ref(), false)?;
    Ok(value)
}

fn keep<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let (meter, value) = metered(arguments)?;
    meter.value(value.as_ref(), true)?;
    Ok(value)
}

fn size<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let (meter, value) = metered(arguments)?;
    meter.node(text_len(value.as_ref()), false)?;
    Ok(value)
}

fn index<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let (meter, value) = metered(arguments)?;
    // The crate quotes the whole list in its error about a fraction, and that is neither paid for nor of use.
    if value.downcast_ref::<CelDouble>().is_some() {
        return Err(failure("[]", "an index is an int or a string, not a double"));
    }
    meter.value(value.as_ref(), false)?;
    Ok(value)
}

fn range<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let (meter, value) = metered(arguments)?;
    let Some(map) = value.downcast_ref::<CelMap>() else {
        meter.value(value.as_ref(), false)?;
        return Ok(value);
    };
    let mut keys: Vec<&CelMapKey> = Vec::with_capacity(map.inner().len());
    #[expect(clippy::iter_over_hash_type, reason = "the keys are sorted below")]
    for key in map.inner().keys() {
        meter.value(key.inner(), true)?;
        keys.push(key);
    }
    keys.sort_unstable();
    let keys: Vec<Box<dyn Val + 'v>> = keys.into_iter().map(|key| key.inner().clone_as_boxed()).collect();
    Ok(CowVal::owned(CelList::from(keys)))
}

fn pass<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let (meter, nodes) = metered(arguments)?;
    let nodes = nodes.downcast_ref::<CelInt>().map_or(1, |nodes| nodes.inner().unsigned_abs());
    meter.work(nodes)?;
    Ok(CowVal::owned(CelBool::from(true)))
}

#[expect(clippy::needless_pass_by_value, reason = "the crate's type of a function")]
fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [meter, text, pattern] = arguments.as_slice() else { return Err(failure("matches", "two arguments")) };
    let (Some(meter), Some(text), Some(pattern)) =
        (meter.downcast_ref::<Meter>(), text.downcast_ref::<CelString>(), pattern.downcast_ref::<CelString>())
    else {
        return Err(failure("matches", "a string and a pattern"));
    };
    let (text, pattern) = (text.inner(), pattern.inner());
    let regex = meter.pattern(pattern).map_err(|message| failure("matches", message))?;
    // The regex crate takes time in proportion to the text times the compiled pattern at worst.
    let steps = (text.len() as u64).saturating_mul(pattern.len() as u64 + 1);
    meter.work(1 + steps / 4)?;
    Ok(CowVal::owned(CelBool::from(regex.is_match(text))))
}
