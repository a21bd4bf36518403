//! From source to a checked expression: names resolved, calls and nesting checked, the meter built in.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::parser::PrattParser;

use super::bounds::{COMPREHENSIONS_NESTED_MAX, NESTING_MAX};
use super::{Variable, functions, meter, scan};
use crate::model::StepName;

/// What an expression may name.
const SCOPE: &str = "in scope are prev, input, steps.<name>, item, index, error, run.id and run.started_at";

/// Names of types, which `type(value)` is compared with.
const TYPES: [&str; 10] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// A checked expression.
#[derive(Debug)]
pub(super) struct Parsed {
    /// Its tree, with the meter in it.
    pub(super) tree: IdedExpr,
    /// The variables that it reads.
    pub(super) reads: BTreeSet<Variable>,
    /// The variable that it is, where it is nothing else.
    pub(super) alone: Option<Variable>,
}

/// The name under which a variable is bound.
pub(super) fn name_of(variable: &Variable) -> String {
    match variable {
        Variable::Prev => "prev".to_owned(),
        Variable::Input => "input".to_owned(),
        Variable::Step(name) => format!("steps.{}", name.as_str()),
        Variable::Item => "item".to_owned(),
        Variable::Index => "index".to_owned(),
        Variable::Error => "error".to_owned(),
        Variable::RunId => "run.id".to_owned(),
        Variable::RunStartedAt => "run.started_at".to_owned(),
    }
}

/// Reads an expression; the error says what is wrong, without the source.
pub(super) fn parse(source: &str) -> Result<Parsed, String> {
    scan::check(source)?;
    let depth = u16::try_from(NESTING_MAX).unwrap_or(u16::MAX);
    let parser = PrattParser::new().max_recursion_depth(depth).error_recovery_limit(1).error_reporting_limit(1);
    // The parser is not ours: a mistake of its must not end a coordinator.
    let tree = catch_unwind(AssertUnwindSafe(|| parser.parse(source))).map_err(|_| "the parser failed".to_owned())?;
    let mut tree = tree.map_err(|errors| {
        let first = errors.errors.first();
        first.map_or_else(String::new, |error| {
            let message = error.msg.trim_start_matches("Syntax error: ");
            if error.pos.0 > 0 { format!("{message} (at {}:{})", error.pos.0, error.pos.1) } else { message.to_owned() }
        })
    })?;
    let mut names = Names::default();
    names.node(&mut tree, 0)?;
    let alone = match (&tree.expr, names.reads.iter().next()) {
        (Expr::Ident(name), Some(variable)) if *name == name_of(variable) => Some(variable.clone()),
        _ => None,
    };
    meter::build_in(&mut tree);
    Ok(Parsed { tree, reads: names.reads, alone })
}

/// Resolves names.
#[derive(Default)]
struct Names {
    reads: BTreeSet<Variable>,
    /// Variables of the comprehensions around.
    bound: Vec<String>,
    comprehensions: usize,
}

impl Names {
    fn node(&mut self, node: &mut IdedExpr, depth: usize) -> Result<(), String> {
        if depth > NESTING_MAX {
            return Err(format!("it nests {NESTING_MAX} deep at most"));
        }
        if let Some(variable) = self.variable(&node.expr)? {
            node.expr = Expr::Ident(name_of(&variable));
            self.reads.insert(variable);
            return Ok(());
        }
        let depth = depth + 1;
        match &mut node.expr {
            Expr::Ident(name) => self.known(name),
            Expr::Literal(_) => Ok(()),
            Expr::Select(select) => self.node(&mut select.operand, depth),
            Expr::List(list) => list.elements.iter_mut().try_for_each(|element| self.node(element, depth)),
            Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.node(&mut entry.key, depth)?;
                    self.node(&mut entry.value, depth)
                }
                EntryExpr::StructField(_) => Err("messages are not part of it".to_owned()),
            }),
            Expr::Call(call) => {
                if call.func_name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '.')
                    && let Some(refusal) = functions::refusal(&call.func_name, call.target.is_some(), call.args.len())
                {
                    return Err(refusal);
                }
                call.target.iter_mut().try_for_each(|target| self.node(target, depth))?;
                call.args.iter_mut().try_for_each(|argument| self.node(argument, depth))
            }
            Expr::Comprehension(_) => self.comprehension(node, depth),
            Expr::Struct(message) => Err(format!("messages as {}{{...}} are not part of it", message.type_name)),
            Expr::Unspecified => Err("it is incomplete".to_owned()),
        }
    }

    fn comprehension(&mut self, node: &mut IdedExpr, depth: usize) -> Result<(), String> {
        let Expr::Comprehension(comprehension) = &mut node.expr else { return Ok(()) };
        self.node(&mut comprehension.iter_range, depth)?;
        if self.comprehensions == COMPREHENSIONS_NESTED_MAX {
            return Err(format!(
                "all, exists, exists_one, map and filter nest {COMPREHENSIONS_NESTED_MAX} deep at most"
            ));
        }
        self.comprehensions += 1;
        let before = self.bound.len();
        self.bound.extend([comprehension.accu_var.clone(), comprehension.iter_var.clone()]);
        for part in [
            &mut comprehension.accu_init,
            &mut comprehension.loop_cond,
            &mut comprehension.loop_step,
            &mut comprehension.result,
        ] {
            self.node(part, depth)?;
        }
        self.bound.truncate(before);
        self.comprehensions -= 1;
        Ok(())
    }

    fn is_bound(&self, name: &str) -> bool {
        self.bound.iter().any(|bound| bound == name)
    }

    /// The variable that a node is as a whole.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    fn variable(&self, expr: &Expr) -> Result<Option<Variable>, String> {
        match expr {
            Expr::Ident(name) if !self.is_bound(name) => Ok(match name.as_str() {
                "prev" => Some(Variable::Prev),
                "input" => Some(Variable::Input),
                "item" => Some(Variable::Item),
                "index" => Some(Variable::Index),
                "error" => Some(Variable::Error),
                _ => None,
            }),
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(name) if name == "steps" && !self.is_bound(name) => {
                    if select.test {
                        return Err(
                            "a step is always there, null if it yielded nothing: compare it with null".to_owned()
                        );
                    }
                    step(&select.field).map(Some)
                }
                Expr::Ident(name) if name == "run" && !self.is_bound(name) => match select.field.as_str() {
                    _ if select.test => Err("run.id and run.started_at are always there".to_owned()),
                    "id" => Ok(Some(Variable::RunId)),
                    "started_at" => Ok(Some(Variable::RunStartedAt)),
                    other => Err(format!("there is no run.{other}: {SCOPE}")),
                },
                _ => Ok(None),
            },
            Expr::Call(call) if call.func_name == operators::INDEX => {
                match call.args.as_slice() {
                    [IdedExpr { expr: Expr::Ident(name), .. }, index] if name == "steps" && !self.is_bound(name) => {
                        match &index.expr {
                            Expr::Literal(LiteralValue::String(name)) => step(name.inner()).map(Some),
                            _ => Err("steps takes a name as it is written, as in steps[\"name\"], not a computed one"
                                .to_owned()),
                        }
                    }
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    /// Checks a name that is no variable of ours.
    fn known(&self, name: &str) -> Result<(), String> {
        if self.is_bound(name) || TYPES.contains(&name) {
            return Ok(());
        }
        Err(match name {
            "steps" => "steps alone is not a value: name a step, as in steps.name".to_owned(),
            "run" => "run alone is not a value: write run.id or run.started_at".to_owned(),
            _ => format!("unknown name {}: {SCOPE}", name.chars().take(80).collect::<String>()),
        })
    }
}

fn step(name: &str) -> Result<Variable, String> {
    name.parse::<StepName>().map(Variable::Step).map_err(|error| error.to_string())
}
