//! The shape of a WIT type, as the mapping needs it: taken from the engine's type once, when a module is linked.
//!
//! **Invariant:** a shape has at most [`NODES_MAX`] nodes and is at most [`DEPTH_MAX`] deep, so that every walk over one ends
//! soon: the types of a component are a graph, whose tree may be far larger than its file.

use std::fmt;

use wasmtime::component::types::{ComponentFunc, Type};

/// Nodes of one function's types. The largest interfaces that people write have a few hundred.
pub(super) const NODES_MAX: usize = 2_000;

/// Nodes of all functions of a module together.
pub(super) const MODULE_NODES_MAX: usize = 20_000;

/// Bytes of a name that count as a node.
const NAME_BYTES: usize = 64;

/// How deep types may nest. Each level takes one of JSON at most, and the reader of JSON stops at 128.
pub(super) const DEPTH_MAX: usize = 48;

/// A type of which values can be written as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Bool,
    Integer(Integer),
    Float32,
    Float64,
    Char,
    String,
    /// `list<u8>`: base64 in JSON.
    Bytes,
    List(Box<Self>),
    Record(Vec<(String, Self)>),
    Tuple(Vec<Self>),
    Variant(Vec<(String, Option<Self>)>),
    Enum(Vec<String>),
    Flags(Vec<String>),
    Option(Box<Self>),
    Result {
        ok: Option<Box<Self>>,
        err: Option<Box<Self>>,
    },
}

/// An integer type: its width and its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Integer {
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
}

impl Integer {
    /// Its name in WIT, its least and its greatest value.
    pub(super) const fn range(self) -> (&'static str, i128, i128) {
        match self {
            Self::S8 => ("s8", i8::MIN as i128, i8::MAX as i128),
            Self::U8 => ("u8", 0, u8::MAX as i128),
            Self::S16 => ("s16", i16::MIN as i128, i16::MAX as i128),
            Self::U16 => ("u16", 0, u16::MAX as i128),
            Self::S32 => ("s32", i32::MIN as i128, i32::MAX as i128),
            Self::U32 => ("u32", 0, u32::MAX as i128),
            Self::S64 => ("s64", i64::MIN as i128, i64::MAX as i128),
            Self::U64 => ("u64", 0, u64::MAX as i128),
        }
    }

    /// Whether some of its values are no numbers that every reader of JSON can hold.
    pub(super) const fn is_wide(self) -> bool {
        matches!(self, Self::S64 | Self::U64)
    }
}

/// The greatest whole number that every reader of JSON holds exactly: those of JavaScript have 53 bits.
pub(super) const SAFE_MAX: i128 = (1 << 53) - 1;

/// The parameters and the result of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) params: Vec<(String, Shape)>,
    pub(super) result: Option<Shape>,
}

/// Why a function is not a task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unmapped {
    #[error("it takes or returns a {0}, which no JSON can stand for")]
    Handle(&'static str),
    #[error("its types have more than {NODES_MAX} parts, or those of the module more than {MODULE_NODES_MAX}")]
    TooLarge,
    #[error("its types nest more than {DEPTH_MAX} deep")]
    TooDeep,
    #[error("it is asynchronous")]
    Asynchronous,
    #[error("it belongs to a resource")]
    OfResource,
    #[error("its toolchain calls it, nobody else")]
    OfToolchain,
    #[error("its name is taken, or longer than a task's may be")]
    Name,
}

impl Signature {
    /// The signature of an exported function.
    ///
    /// # Errors
    /// A type that has no JSON, or one that is too large.
    pub(super) fn of(function: &ComponentFunc, module_nodes_left: &mut usize) -> Result<Self, Unmapped> {
        if function.async_() {
            return Err(Unmapped::Asynchronous);
        }
        let budget = NODES_MAX.min(*module_nodes_left);
        let mut walk = Walk { nodes_left: budget };
        let signature = walk.signature(function);
        *module_nodes_left = module_nodes_left.saturating_sub(budget.saturating_sub(walk.nodes_left));
        signature
    }
}

struct Walk {
    nodes_left: usize,
}

impl Walk {
    fn signature(&mut self, function: &ComponentFunc) -> Result<Signature, Unmapped> {
        let mut params = Vec::new();
        for (name, ty) in function.params() {
            params.push((self.name(name)?, self.shape(&ty, DEPTH_MAX)?));
        }
        // The component model has one result, or none; several with names were given up.
        let result = function.results().next().map(|ty| self.shape(&ty, DEPTH_MAX)).transpose()?;
        Ok(Signature { params, result })
    }

    fn take(&mut self, nodes: usize) -> Result<(), Unmapped> {
        self.nodes_left = self.nodes_left.checked_sub(nodes).ok_or(Unmapped::TooLarge)?;
        Ok(())
    }

    /// Copies a name: a long one counts as several nodes, since one name of a graph of types may stand in many places.
    fn name(&mut self, name: &str) -> Result<String, Unmapped> {
        self.take(name.len() / NAME_BYTES)?;
        Ok(name.to_owned())
    }

    fn shape(&mut self, ty: &Type, depth_left: usize) -> Result<Shape, Unmapped> {
        self.take(1)?;
        let left = depth_left.checked_sub(1).ok_or(Unmapped::TooDeep)?;
        Ok(match ty {
            Type::Bool => Shape::Bool,
            Type::S8 => Shape::Integer(Integer::S8),
            Type::U8 => Shape::Integer(Integer::U8),
            Type::S16 => Shape::Integer(Integer::S16),
            Type::U16 => Shape::Integer(Integer::U16),
            Type::S32 => Shape::Integer(Integer::S32),
            Type::U32 => Shape::Integer(Integer::U32),
            Type::S64 => Shape::Integer(Integer::S64),
            Type::U64 => Shape::Integer(Integer::U64),
            Type::Float32 => Shape::Float32,
            Type::Float64 => Shape::Float64,
            Type::Char => Shape::Char,
            Type::String => Shape::String,
            Type::List(list) => match self.shape(&list.ty(), left)? {
                Shape::Integer(Integer::U8) => Shape::Bytes,
                element => Shape::List(Box::new(element)),
            },
            Type::Option(option) => Shape::Option(Box::new(self.shape(&option.ty(), left)?)),
            Type::Result(result) => {
                Shape::Result { ok: self.payload(result.ok(), left)?, err: self.payload(result.err(), left)? }
            }
            Type::Enum(names) => Shape::Enum(self.names(names.names())?),
            Type::Flags(names) => Shape::Flags(self.names(names.names())?),
            Type::Record(_) | Type::Tuple(_) | Type::Variant(_) => self.compound(ty, left)?,
            Type::Own(_) | Type::Borrow(_) => return Err(Unmapped::Handle("resource")),
            Type::Future(_) => return Err(Unmapped::Handle("future")),
            Type::Stream(_) => return Err(Unmapped::Handle("stream")),
            Type::ErrorContext => return Err(Unmapped::Handle("error context")),
            // Proposals that are off: the parser has refused them.
            Type::Map(_) => return Err(Unmapped::Handle("map")),
            Type::FixedLengthList(_) => return Err(Unmapped::Handle("list of fixed length")),
        })
    }

    fn compound(&mut self, ty: &Type, left: usize) -> Result<Shape, Unmapped> {
        Ok(match ty {
            Type::Record(record) => {
                let mut fields = Vec::new();
                for field in record.fields() {
                    fields.push((self.name(field.name)?, self.shape(&field.ty, left)?));
                }
                Shape::Record(fields)
            }
            Type::Variant(variant) => {
                let mut cases = Vec::new();
                for case in variant.cases() {
                    self.take(1)?;
                    let payload = case.ty.map(|ty| self.shape(&ty, left)).transpose()?;
                    cases.push((self.name(case.name)?, payload));
                }
                Shape::Variant(cases)
            }
            Type::Tuple(tuple) => {
                Shape::Tuple(tuple.types().map(|ty| self.shape(&ty, left)).collect::<Result<_, _>>()?)
            }
            _ => return Err(Unmapped::Handle("type of no known kind")),
        })
    }

    fn payload(&mut self, ty: Option<Type>, left: usize) -> Result<Option<Box<Shape>>, Unmapped> {
        ty.map(|ty| self.shape(&ty, left).map(Box::new)).transpose()
    }

    fn names<'a>(&mut self, names: impl ExactSizeIterator<Item = &'a str>) -> Result<Vec<String>, Unmapped> {
        self.take(names.len())?;
        names.map(|name| self.name(name)).collect()
    }
}

impl Shape {
    /// Whether `null` stands for one of its values.
    pub(super) const fn takes_null(&self) -> bool {
        matches!(self, Self::Option(_))
    }

    /// Whether some object stands for one of its values.
    pub(super) fn takes_objects(&self) -> bool {
        match self {
            Self::Record(_) | Self::Result { .. } => true,
            Self::Variant(cases) => cases.iter().any(|(_, payload)| payload.is_some()),
            Self::Option(inner) => inner.takes_null() || inner.takes_objects(),
            _ => false,
        }
    }

    /// Whether an object that has this key may stand for one of its values.
    pub(super) fn takes_key(&self, key: &str) -> bool {
        match self {
            Self::Record(fields) => fields.iter().any(|(name, _)| name == key),
            Self::Variant(cases) => cases.iter().any(|(name, payload)| payload.is_some() && name == key),
            Self::Result { .. } => key == OK || key == ERR,
            Self::Option(inner) if inner.takes_null() => key == SOME,
            Self::Option(inner) => inner.takes_key(key),
            _ => false,
        }
    }

    /// Whether some array stands for one of its values.
    pub(super) fn takes_arrays(&self) -> bool {
        match self {
            Self::List(_) | Self::Bytes | Self::Tuple(_) | Self::Flags(_) => true,
            Self::Option(inner) => !inner.takes_null() && inner.takes_arrays(),
            _ => false,
        }
    }
}

impl fmt::Display for Shape {
    /// As in WIT, where types that have names there have the name of their kind here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Integer(integer) => f.write_str(integer.range().0),
            Self::Float32 => f.write_str("f32"),
            Self::Float64 => f.write_str("f64"),
            Self::Char => f.write_str("char"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("list<u8>"),
            Self::List(element) => write!(f, "list<{element}>"),
            Self::Record(_) => f.write_str("record"),
            Self::Tuple(shapes) => {
                let shapes: Vec<String> = shapes.iter().map(ToString::to_string).collect();
                write!(f, "tuple<{}>", shapes.join(", "))
            }
            Self::Variant(_) => f.write_str("variant"),
            Self::Enum(_) => f.write_str("enum"),
            Self::Flags(_) => f.write_str("flags"),
            Self::Option(inner) => write!(f, "option<{inner}>"),
            Self::Result { ok: None, err: None } => f.write_str("result"),
            Self::Result { ok: Some(ok), err: None } => write!(f, "result<{ok}>"),
            Self::Result { ok: None, err: Some(err) } => write!(f, "result<_, {err}>"),
            Self::Result { ok: Some(ok), err: Some(err) } => write!(f, "result<{ok}, {err}>"),
        }
    }
}

/// The keys of a `result` in JSON.
pub(super) const OK: &str = "ok";
pub(super) const ERR: &str = "err";

/// The key that tells `some(none)` from `none` where options nest.
pub(super) const SOME: &str = "some";
