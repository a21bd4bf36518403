//! JSON to values of CEL and back.
//!
//! | JSON | CEL |
//! |---|---|
//! | integer that fits 64 bits signed | int, every digit kept |
//! | any other number | double |
//! | string, boolean, null, array, object | string, bool, null, list, map |
//!
//! Back, an uint is an integer too, a timestamp is a string in RFC 3339, a duration is its seconds as a string (`"5400s"`), and the keys of
//! a map are sorted. Bytes, types, maps with keys that are no strings, and doubles that are no numbers have no JSON form.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use cel::common::types::{
    CelBool, CelDouble, CelDuration, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelTimestamp, CelUInt,
};
use cel::common::value::{CowVal, Val};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::bounds::{Meter, Refused};
use super::functions::ENVIRONMENT;

type Boxed = Box<dyn Val>;

/// Reads JSON text as a value, and pays for the memory that it takes.
pub(super) fn read(text: &[u8], meter: &Meter) -> Result<Boxed, String> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Seed(meter).deserialize(&mut reader).map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(value)
}

struct Seed<'a>(&'a Meter);

impl Seed<'_> {
    fn pay<E: serde::de::Error>(&self, text: usize) -> Result<(), E> {
        self.0.node(text, true).map_err(|Refused| E::custom("too much"))
    }

    fn one<E: serde::de::Error>(&self, value: impl Val + 'static) -> Result<Boxed, E> {
        self.pay(0)?;
        Ok(Box::new(value))
    }

    fn text<E: serde::de::Error>(&self, text: String) -> Result<Boxed, E> {
        self.pay(text.len())?;
        Ok(Box::new(CelString::from(text)))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Boxed;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Boxed, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Boxed;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Boxed, E> {
        self.one(CelNull)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Boxed, E> {
        self.one(CelBool::from(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Boxed, E> {
        self.one(CelInt::from(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "what fits no int is a double, as the format says")]
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Boxed, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Boxed, E> {
        self.one(CelDouble::from(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Boxed, E> {
        self.text(value.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Boxed, E> {
        self.text(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Boxed, A::Error> {
        self.pay(0)?;
        let mut list: Vec<Boxed> = Vec::new();
        while let Some(item) = items.next_element_seed(Seed(self.0))? {
            list.push(item);
        }
        Ok(Box::new(CelList::from(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Boxed, A::Error> {
        self.pay(0)?;
        let mut map: HashMap<CelMapKey<'static>, Boxed> = HashMap::new();
        while let Some(key) = fields.next_key::<String>()? {
            self.pay(key.len())?;
            map.insert(CelMapKey::from(key), fields.next_value_seed(Seed(self.0))?);
        }
        Ok(Box::new(CelMap::from(map)))
    }
}

/// Writes a value as JSON, into a text that may grow to so many bytes.
pub(super) fn write(value: &dyn Val, text: &mut Vec<u8>, max: usize) -> Result<(), String> {
    if text.len() > max {
        return Err(super::evaluate::result_too_large());
    }
    if let Some(list) = value.downcast_ref::<CelList>() {
        text.push(b'[');
        for (position, item) in list.inner().iter().enumerate() {
            if position > 0 {
                text.push(b',');
            }
            write(item.as_ref(), text, max)?;
        }
        text.push(b']');
    } else if let Some(map) = value.downcast_ref::<CelMap>() {
        write_map(map, text, max)?;
    } else {
        scalar(value)?.write(text);
    }
    if text.len() > max { Err(super::evaluate::result_too_large()) } else { Ok(()) }
}

fn write_map(map: &CelMap<'_>, text: &mut Vec<u8>, max: usize) -> Result<(), String> {
    let mut fields: BTreeMap<&str, &dyn Val> = BTreeMap::new();
    #[expect(clippy::iter_over_hash_type, reason = "the fields are sorted here")]
    for (key, value) in map.inner() {
        let CelMapKey::String(key) = key else {
            return Err("the keys of a map must be strings in JSON".to_owned());
        };
        fields.insert(key.inner(), value.as_ref());
    }
    text.push(b'{');
    for (position, (key, value)) in fields.into_iter().enumerate() {
        if position > 0 {
            text.push(b',');
        }
        Scalar::Text(key.into()).write(text);
        text.push(b':');
        write(value, text, max)?;
    }
    text.push(b'}');
    Ok(())
}

/// Writes a value into a longer string: a string as it is, any other as its JSON.
pub(super) fn render(value: &dyn Val, text: &mut String, max: usize) -> Result<(), String> {
    if value.downcast_ref::<CelList>().is_some() || value.downcast_ref::<CelMap>().is_some() {
        let mut json = Vec::new();
        write(value, &mut json, max.saturating_sub(text.len()))?;
        text.push_str(&String::from_utf8_lossy(&json));
        return Ok(());
    }
    match scalar(value)? {
        Scalar::Text(string) => text.push_str(&string),
        Scalar::Json(json) => text.push_str(&json.to_string()),
    }
    if text.len() > max { Err(super::evaluate::result_too_large()) } else { Ok(()) }
}

enum Scalar<'a> {
    Text(std::borrow::Cow<'a, str>),
    Json(serde_json::Value),
}

impl Scalar<'_> {
    fn write(self, text: &mut Vec<u8>) {
        let json = match self {
            Self::Text(string) => serde_json::to_vec(string.as_ref()).unwrap_or_default(),
            Self::Json(json) => json.to_string().into_bytes(),
        };
        text.extend_from_slice(&json);
    }
}

fn scalar<'b>(value: &'b (dyn Val + '_)) -> Result<Scalar<'b>, String> {
    if let Some(string) = value.downcast_ref::<CelString>() {
        return Ok(Scalar::Text(string.inner().into()));
    }
    if let Some(int) = value.downcast_ref::<CelInt>() {
        return Ok(Scalar::Json((*int.inner()).into()));
    }
    if let Some(uint) = value.downcast_ref::<CelUInt>() {
        return Ok(Scalar::Json((*uint.inner()).into()));
    }
    if let Some(double) = value.downcast_ref::<CelDouble>() {
        let number = serde_json::Number::from_f64(*double.inner());
        return number
            .map(|number| Scalar::Json(number.into()))
            .ok_or_else(|| "NaN and infinity are no JSON".to_owned());
    }
    if let Some(boolean) = value.downcast_ref::<CelBool>() {
        return Ok(Scalar::Json((*boolean.inner()).into()));
    }
    if value.downcast_ref::<CelNull>().is_some() {
        return Ok(Scalar::Json(serde_json::Value::Null));
    }
    if value.downcast_ref::<CelTimestamp>().is_some() || value.downcast_ref::<CelDuration>().is_some() {
        return as_string(value);
    }
    Err(format!("a value of type {} has no JSON form", value.get_type().name()))
}

/// What `string(value)` is.
fn as_string<'b>(value: &dyn Val) -> Result<Scalar<'b>, String> {
    let arguments = [CowVal::Borrowed(value)];
    let text = ENVIRONMENT.find_overload("string", &arguments).and_then(|string| string(arguments.into()).ok());
    let text = text.and_then(|text| text.downcast_ref::<CelString>().map(|text| text.inner().to_owned()));
    text.map(|text| Scalar::Text(text.into())).ok_or_else(|| "it has no JSON form".to_owned())
}
