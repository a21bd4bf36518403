//! The meter in the tree: calls that charge, put around what costs.

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::functions::{INDEX, KEEP, LOOK, MATCHES, METER, PASS, RANGE, SIZE};

fn of(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

fn call(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    of(Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }))
}

fn meter() -> IdedExpr {
    of(Expr::Ident(METER.to_owned()))
}

/// Puts a call that charges around a node. What is written in the source is short, and free.
fn charge(name: &str, node: &mut IdedExpr) {
    build_in(node);
    // An index is looked at for what it is too: the crate quotes a whole list in its error about a fraction.
    if name == INDEX || !matches!(node.expr, Expr::Literal(_)) {
        let inner = std::mem::take(node);
        *node = call(name, vec![meter(), inner]);
    }
}

/// Puts the meter into an expression.
pub(super) fn build_in(node: &mut IdedExpr) {
    match &mut node.expr {
        Expr::Call(call) => build_in_call(call),
        Expr::Comprehension(comprehension) => build_in_comprehension(comprehension),
        Expr::List(list) => list.elements.iter_mut().for_each(|element| charge(KEEP, element)),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    charge(KEEP, &mut entry.key);
                    charge(KEEP, &mut entry.value);
                }
            }
        }
        Expr::Select(select) => build_in(&mut select.operand),
        // The checks refused messages and what is incomplete.
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}

fn build_in_call(call: &mut CallExpr) {
    let name = call.func_name.as_str();
    match (name, call.args.as_mut_slice()) {
        // These hand a value on, or take a boolean.
        (operators::CONDITIONAL | operators::LOGICAL_AND | operators::LOGICAL_OR, parts) => {
            parts.iter_mut().for_each(build_in);
        }
        (operators::LOGICAL_NOT | operators::NEGATE | operators::NOT_STRICTLY_FALSE, parts) => {
            parts.iter_mut().for_each(build_in);
        }
        (operators::INDEX, [value, index]) => {
            build_in(value);
            charge(INDEX, index);
        }
        ("size", parts) => {
            parts.iter_mut().chain(call.target.as_deref_mut()).for_each(|part| charge(SIZE, part));
        }
        ("matches", _) => {
            call.func_name = MATCHES.to_owned();
            call.args.iter_mut().chain(call.target.as_deref_mut()).for_each(build_in);
            call.args.splice(0..0, [meter()].into_iter().chain(call.target.take().map(|target| *target)));
        }
        (operators::ADD, parts) => parts.iter_mut().for_each(|part| charge(KEEP, part)),
        (_, parts) if name.starts_with(|first: char| first.is_ascii_alphabetic()) => {
            parts.iter_mut().chain(call.target.as_deref_mut()).for_each(|part| charge(KEEP, part));
        }
        (_, parts) => parts.iter_mut().for_each(|part| charge(LOOK, part)),
    }
}

/// Makes each pass of a comprehension pay for the nodes of its body.
///
/// The crate builds the list of `map` and `filter` in place only if it knows their shape: `@result + [value]`, with a condition
/// or without, and a loop condition that is a literal. There the condition or the value pays; their errors end the comprehension. In
/// the others the loop condition pays, because `all` and `exists` put errors of their step off.
fn build_in_comprehension(comprehension: &mut ComprehensionExpr) {
    charge(RANGE, &mut comprehension.iter_range);
    let appends = matches!(comprehension.accu_init.expr, Expr::List(_));
    let Expr::Call(step) = &mut comprehension.loop_step.expr else { return };
    match (step.func_name.as_str(), step.args.as_mut_slice()) {
        (operators::CONDITIONAL, [condition, added, _]) => {
            build_in(condition);
            if appends {
                element(added, |value| charge(KEEP, value));
                pay(condition, count(added), LiteralValue::Boolean(false.into()));
            }
        }
        (operators::ADD, [_, added]) => {
            // A value without a condition: `@result + [value]`.
            if let Expr::List(list) = &mut added.expr {
                for value in &mut list.elements {
                    charge(KEEP, value);
                    pay(value, 0, LiteralValue::Null);
                }
            }
        }
        (_, [_, condition]) => build_in(condition),
        _ => {}
    }
    if !appends {
        pay(&mut comprehension.loop_cond, count(&comprehension.loop_step), LiteralValue::Boolean(false.into()));
    }
}

/// The value in `@result + [value]`.
fn element(added: &mut IdedExpr, charge: impl Fn(&mut IdedExpr)) {
    if let Expr::Call(added) = &mut added.expr
        && let [_, list] = added.args.as_mut_slice()
        && let Expr::List(list) = &mut list.expr
    {
        list.elements.iter_mut().for_each(charge);
    }
}

/// `pass(nodes) ? node : otherwise`: `pass` yields true or fails.
fn pay(node: &mut IdedExpr, body: i64, otherwise: LiteralValue) {
    let inner = std::mem::take(node);
    let nodes = body + count(&inner);
    let nodes = of(Expr::Literal(LiteralValue::Int(nodes.into())));
    let paid = call(PASS, vec![meter(), nodes]);
    *node = call(operators::CONDITIONAL, vec![paid, inner, of(Expr::Literal(otherwise))]);
}

/// Nodes of a tree, which nests no deeper than the checks allow.
fn count(node: &IdedExpr) -> i64 {
    1 + match &node.expr {
        Expr::Call(call) => call.target.as_deref().map_or(0, count) + call.args.iter().map(count).sum::<i64>(),
        Expr::Comprehension(inner) => {
            count(&inner.iter_range) + count(&inner.loop_cond) + count(&inner.loop_step) + count(&inner.result)
        }
        Expr::List(list) => list.elements.iter().map(count).sum(),
        Expr::Map(map) => {
            let entry = |entry: &EntryExpr| match entry {
                EntryExpr::MapEntry(entry) => count(&entry.key) + count(&entry.value),
                EntryExpr::StructField(field) => count(&field.value),
            };
            map.entries.iter().map(|each| entry(&each.expr)).sum()
        }
        Expr::Select(select) => count(&select.operand),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => 0,
    }
}
