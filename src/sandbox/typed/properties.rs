#![cfg(test)]
//! What holds for every type and value: JSON that is written reads back as the same value, fits its schema, and no JSON at
//! all makes the reader panic.

use boon::{Compiler, Schemas};
use proptest::prelude::*;
use serde_json::Value;
use wasmtime::component::Val;

use super::arguments;
use super::read::read;
use super::schema;
use super::shape::{Integer, Shape, Signature};
use super::write::write;

const INTEGERS: [Integer; 8] =
    [Integer::S8, Integer::U8, Integer::S16, Integer::U16, Integer::S32, Integer::U32, Integer::S64, Integer::U64];

fn names(count: usize) -> Vec<String> {
    ["a", "b-c", "some", "ok", "x"].iter().take(count).map(|name| (*name).to_owned()).collect()
}

fn shapes() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Bool),
        prop::sample::select(&INTEGERS[..]).prop_map(Shape::Integer),
        Just(Shape::Float32),
        Just(Shape::Float64),
        Just(Shape::Char),
        Just(Shape::String),
        Just(Shape::Bytes),
        (1..5usize).prop_map(|count| Shape::Enum(names(count))),
        (1..5usize).prop_map(|count| Shape::Flags(names(count))),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let inner_box = || inner.clone().prop_map(Box::new);
        prop_oneof![
            // A list of u8 is Bytes.
            inner.clone().prop_map(|shape| match shape {
                Shape::Integer(Integer::U8) => Shape::Bytes,
                shape => Shape::List(Box::new(shape)),
            }),
            prop::collection::vec(inner.clone(), 1..5)
                .prop_map(|shapes| Shape::Record(names(shapes.len()).into_iter().zip(shapes).collect())),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Shape::Tuple),
            prop::collection::vec(prop::option::of(inner.clone()), 1..5)
                .prop_map(|shapes| Shape::Variant(names(shapes.len()).into_iter().zip(shapes).collect())),
            inner_box().prop_map(Shape::Option),
            (prop::option::of(inner_box()), prop::option::of(inner_box()))
                .prop_map(|(ok, err)| Shape::Result { ok, err }),
        ]
    })
}

fn integer(integer: Integer) -> BoxedStrategy<Val> {
    match integer {
        Integer::S8 => any::<i8>().prop_map(Val::S8).boxed(),
        Integer::U8 => any::<u8>().prop_map(Val::U8).boxed(),
        Integer::S16 => any::<i16>().prop_map(Val::S16).boxed(),
        Integer::U16 => any::<u16>().prop_map(Val::U16).boxed(),
        Integer::S32 => any::<i32>().prop_map(Val::S32).boxed(),
        Integer::U32 => any::<u32>().prop_map(Val::U32).boxed(),
        Integer::S64 => any::<i64>().prop_map(Val::S64).boxed(),
        Integer::U64 => any::<u64>().prop_map(Val::U64).boxed(),
    }
}

fn values(shape: &Shape) -> BoxedStrategy<Val> {
    let payload = |shape: Option<&Shape>| match shape {
        Some(shape) => values(shape).prop_map(|value| Some(Box::new(value))).boxed(),
        None => Just(None).boxed(),
    };
    match shape {
        Shape::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        Shape::Integer(kind) => integer(*kind),
        Shape::Float32 => any::<f32>().prop_map(Val::Float32).boxed(),
        Shape::Float64 => any::<f64>().prop_map(Val::Float64).boxed(),
        Shape::Char => any::<char>().prop_map(Val::Char).boxed(),
        Shape::String => any::<String>().prop_map(Val::String).boxed(),
        Shape::Bytes => prop::collection::vec(any::<u8>().prop_map(Val::U8), 0..9).prop_map(Val::List).boxed(),
        Shape::List(element) => prop::collection::vec(values(element), 0..4).prop_map(Val::List).boxed(),
        Shape::Tuple(shapes) => shapes.iter().map(values).collect::<Vec<_>>().prop_map(Val::Tuple).boxed(),
        Shape::Record(fields) => {
            let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
            let fields: Vec<_> = fields.iter().map(|(_, shape)| values(shape)).collect();
            fields.prop_map(move |values| Val::Record(names.iter().cloned().zip(values).collect())).boxed()
        }
        Shape::Variant(cases) => {
            let cases: Vec<_> =
                cases.iter().map(|(name, shape)| (Just(name.clone()), payload(shape.as_ref()))).collect();
            prop::strategy::Union::new(cases).prop_map(|(name, value)| Val::Variant(name, value)).boxed()
        }
        Shape::Enum(names) => prop::sample::select(names.clone()).prop_map(Val::Enum).boxed(),
        Shape::Flags(names) => prop::sample::subsequence(names.clone(), 0..=names.len()).prop_map(Val::Flags).boxed(),
        Shape::Option(inner) => prop::option::of(values(inner).prop_map(Box::new)).prop_map(Val::Option).boxed(),
        Shape::Result { ok, err } => prop_oneof![
            payload(ok.as_deref()).prop_map(|value| Val::Result(Ok(value))),
            payload(err.as_deref()).prop_map(|value| Val::Result(Err(value))),
        ]
        .boxed(),
    }
}

fn shapes_with_values() -> impl Strategy<Value = (Shape, Val)> {
    shapes().prop_flat_map(|shape| {
        let values = values(&shape);
        (Just(shape), values)
    })
}

fn fits(schema: Value, json: &Value) -> Result<(), String> {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("http://test/schema.json", schema).map_err(|error| error.to_string())?;
    let index = compiler.compile("http://test/schema.json", &mut schemas).map_err(|error| error.to_string())?;
    schemas.validate(json, index).map_err(|error| format!("{error:#}"))
}

fn signature(shape: &Shape) -> Signature {
    Signature { params: vec![("p".to_owned(), shape.clone())], result: Some(shape.clone()) }
}

proptest! {
    #[test]
    fn a_value_reads_back_as_it_was_written((shape, value) in shapes_with_values()) {
        let text = write(&shape, &value, usize::MAX).unwrap();
        let back = read(&shape, &text).map_err(|mismatch| TestCaseError::fail(mismatch.to_string()))?;
        // NaN equals nothing; its text equals itself.
        prop_assert_eq!(write(&shape, &back, usize::MAX).unwrap(), text);
        // The engine's comparison takes floats by their bits and flags as sets.
        prop_assert!(back == value || format!("{value:?}").contains("NaN"), "{:?} {:?}", back, value);
    }

    #[test]
    fn a_float_reads_back_to_the_last_bit(bits in any::<u64>(), narrow in any::<u32>()) {
        let (double, single) = (f64::from_bits(bits), f32::from_bits(narrow));
        prop_assume!(!double.is_nan() && !single.is_nan());
        for (shape, value) in [(Shape::Float64, Val::Float64(double)), (Shape::Float32, Val::Float32(single))] {
            let text = write(&shape, &value, usize::MAX).unwrap();
            // Any program between writer and reader keeps it, too: ours parse and print it again.
            let passed_on = serde_json::from_slice::<Value>(&text).unwrap().to_string();
            let back = read(&shape, passed_on.as_bytes());
            let back = back.map_err(|mismatch| TestCaseError::fail(mismatch.to_string()))?;
            let same = match (&back, &value) {
                (Val::Float64(back), Val::Float64(value)) => back.to_bits() == value.to_bits(),
                (Val::Float32(back), Val::Float32(value)) => back.to_bits() == value.to_bits(),
                _ => false,
            };
            prop_assert!(same, "{:?} by {}", back, passed_on);
        }
    }

    #[test]
    fn an_argument_reads_back_in_every_form((shape, value) in shapes_with_values()) {
        let text = String::from_utf8(write(&shape, &value, usize::MAX).unwrap()).unwrap();
        let params = vec![("p".to_owned(), shape.clone()), ("q".to_owned(), Shape::Bool)];
        for input in [format!("{{\"q\":true,\"p\":{text}}}"), format!("[{text},true]")] {
            let arguments = arguments::read(&params, input.as_bytes());
            let arguments = arguments.map_err(|mismatch| TestCaseError::fail(mismatch.to_string()))?;
            prop_assert_eq!(write(&shape, &arguments[0], usize::MAX).unwrap(), text.as_bytes());
        }
        // Alone, it stands for itself.
        let alone = arguments::read(&params[..1], text.as_bytes());
        let alone = alone.map_err(|mismatch| TestCaseError::fail(mismatch.to_string()))?;
        prop_assert_eq!(write(&shape, &alone[0], usize::MAX).unwrap(), text.as_bytes());
    }

    #[test]
    fn what_is_written_fits_its_schema((shape, value) in shapes_with_values()) {
        let json: Value = serde_json::from_slice(&write(&shape, &value, usize::MAX).unwrap()).unwrap();
        let signature = signature(&shape);
        prop_assert_eq!(fits(schema::input(&signature), &json), Ok(()));
        if !matches!(shape, Shape::Result { .. }) {
            prop_assert_eq!(fits(schema::output(&signature), &json), Ok(()));
        }
    }

    #[test]
    fn no_json_makes_the_reader_panic(shape in shapes(), (_, other) in shapes_with_values(), noise in "[\\[\\]{}\":,a0-9.e-]{0,20}") {
        let signature = signature(&shape);
        drop(arguments::read(&signature.params, noise.as_bytes()));
        // The JSON of another type: what is refused points into it.
        let (other_shape, value) = (shape_of(&other), other);
        if let Some(other_shape) = other_shape {
            let text = write(&other_shape, &value, usize::MAX).unwrap();
            if let Err(mismatch) = read(&shape, &text) {
                let json: Value = serde_json::from_slice(&text).unwrap();
                prop_assert!(json.pointer(&mismatch.pointer).is_some(), "{} in {}", mismatch, json);
            }
        }
    }
}

/// A shape of simple values, to write them by.
fn shape_of(value: &Val) -> Option<Shape> {
    Some(match value {
        Val::Bool(_) => Shape::Bool,
        Val::String(_) => Shape::String,
        Val::U64(_) => Shape::Integer(Integer::U64),
        Val::Record(fields) => {
            let field = |(name, value): &(String, Val)| Some((name.clone(), shape_of(value)?));
            Shape::Record(fields.iter().map(field).collect::<Option<_>>()?)
        }
        Val::Tuple(values) => Shape::Tuple(values.iter().map(shape_of).collect::<Option<_>>()?),
        _ => return None,
    })
}
