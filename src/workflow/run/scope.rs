//! Names that expressions see: the outputs of named steps, items and failures, each in its scope.
//!
//! **Invariant:** a scope lives as long as a frame, a compensation or an inner scope refers to it.

use std::collections::BTreeMap;

use crate::model::{Datum, StepName};

/// The number of a scope.
pub(super) type ScopeKey = u64;

/// The scopes of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Scopes {
    all: BTreeMap<ScopeKey, Scope>,
    next: ScopeKey,
}

#[derive(Clone, Debug)]
struct Scope {
    outer: Option<ScopeKey>,
    seen: Seen,
    names: BTreeMap<StepName, Datum>,
    references: usize,
}

/// What a scope adds to the one around it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    /// Names of its own, as the root's or a replacement's.
    Names,
    /// An item of a map and its number, and names of its own.
    Item(Datum, usize),
    /// The number of an iteration, and names of its own.
    Index(usize),
    /// A failure; its steps' names belong to the scope around it.
    Error(Datum),
}

impl Scopes {
    /// Opens a scope with one reference to it.
    pub(super) fn open(&mut self, outer: Option<ScopeKey>, seen: Seen) -> ScopeKey {
        let key = self.next;
        self.next = self.next.saturating_add(1);
        if let Some(outer) = outer {
            self.retain(outer);
        }
        self.all.insert(key, Scope { outer, seen, names: BTreeMap::new(), references: 1 });
        key
    }

    /// One more reference.
    pub(super) fn retain(&mut self, key: ScopeKey) {
        if let Some(scope) = self.all.get_mut(&key) {
            scope.references = scope.references.saturating_add(1);
        }
    }

    /// One reference less; the last one closes the scope.
    pub(super) fn release(&mut self, key: ScopeKey) {
        let mut closing = Some(key);
        while let Some(key) = closing.take() {
            let Some(scope) = self.all.get_mut(&key) else { return };
            scope.references = scope.references.saturating_sub(1);
            if scope.references == 0 {
                closing = scope.outer;
                self.all.remove(&key);
            }
        }
    }

    /// Gives a step's output its name.
    pub(super) fn publish(&mut self, key: ScopeKey, name: StepName, output: Datum) {
        let mut at = key;
        while let Some(scope) = self.all.get(&at) {
            match (&scope.seen, scope.outer) {
                (Seen::Error(_), Some(outer)) => at = outer,
                _ => break,
            }
        }
        if let Some(scope) = self.all.get_mut(&at) {
            scope.names.insert(name, output);
        }
    }

    /// The output of a named step.
    pub(super) fn step(&self, key: ScopeKey, name: &StepName) -> Option<Datum> {
        self.up(key, |scope| scope.names.get(name).cloned())
    }

    /// The innermost item.
    pub(super) fn item(&self, key: ScopeKey) -> Option<Datum> {
        self.up(key, |scope| match &scope.seen {
            Seen::Item(item, _) => Some(item.clone()),
            Seen::Names | Seen::Index(_) | Seen::Error(_) => None,
        })
    }

    /// The innermost number of an item or iteration.
    pub(super) fn index(&self, key: ScopeKey) -> Option<usize> {
        self.up(key, |scope| match &scope.seen {
            Seen::Item(_, index) | Seen::Index(index) => Some(*index),
            Seen::Names | Seen::Error(_) => None,
        })
    }

    /// The innermost failure.
    pub(super) fn error(&self, key: ScopeKey) -> Option<Datum> {
        self.up(key, |scope| match &scope.seen {
            Seen::Error(error) => Some(error.clone()),
            Seen::Names | Seen::Index(_) | Seen::Item(..) => None,
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    fn up<T>(&self, key: ScopeKey, look: impl Fn(&Scope) -> Option<T>) -> Option<T> {
        let mut at = Some(key);
        while let Some(scope) = at.and_then(|key| self.all.get(&key)) {
            if let Some(found) = look(scope) {
                return Some(found);
            }
            at = scope.outer;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datum(text: &'static str) -> Datum {
        Datum::parse(&bytes::Bytes::from_static(text.as_bytes())).unwrap()
    }

    #[test]
    fn inner_scopes_see_outer_names_and_close_with_their_last_reference() {
        let (mut scopes, name) = (Scopes::default(), "a".parse::<StepName>().unwrap());
        let root = scopes.open(None, Seen::Names);
        let item = scopes.open(Some(root), Seen::Item(datum("7"), 3));
        scopes.publish(root, name.clone(), datum("1"));
        assert_eq!(scopes.step(item, &name), Some(datum("1")));
        scopes.publish(item, name.clone(), datum("2"));
        assert_eq!((scopes.step(item, &name), scopes.step(root, &name)), (Some(datum("2")), Some(datum("1"))));
        assert_eq!((scopes.item(item), scopes.index(item), scopes.item(root)), (Some(datum("7")), Some(3), None));
        scopes.release(root);
        assert_eq!(scopes.step(item, &name), Some(datum("2")), "the inner one keeps the outer one");
        scopes.release(item);
        assert_eq!(scopes.count(), 0);
    }

    #[test]
    fn names_of_a_handler_belong_to_the_scope_around_it() {
        let (mut scopes, name) = (Scopes::default(), "a".parse::<StepName>().unwrap());
        let root = scopes.open(None, Seen::Names);
        let handler = scopes.open(Some(root), Seen::Error(datum("{}")));
        scopes.publish(handler, name.clone(), datum("1"));
        assert_eq!(scopes.step(root, &name), Some(datum("1")));
        assert_eq!((scopes.error(handler), scopes.error(root)), (Some(datum("{}")), None));
    }
}
