//! How are values deserialised from the data of an event, whose bytes are not in the JSON?
//!
//! A wrapper of a deserialiser. Where a value asks for bytes, such as [`Bytes`], it takes an
//! attachment, base64, or a list of numbers. It passes everything else on. A value that serde
//! buffers first, such as a field of a `flatten` or an untagged enum, does not ask for bytes: it gets
//! those of an attachment, but not of base64.
//!
//! A value that is buffered recognises a placeholder by its first key, so the whole is deserialised anew
//! if that is another one. A value that does not ask for bytes, such as a `serde_json::Value`, does not
//! get a placeholder: then all placeholders become base64, and the whole is deserialised once more.
//!
//! Longer than 400 lines because the wrappers of one deserialiser are read together.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny,
    IntoDeserializer as _, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::events::attachments::Attachments;
use crate::socketio::{PLACEHOLDER, inline_base64, order_placeholders};

/// By this name, a `serde_json::value::RawValue` asks for its text.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// Deserialises JSON. A placeholder stands for one of the attachments.
pub(crate) fn from_json<T: DeserializeOwned>(
    json: &[u8],
    attachments: &[Bytes],
) -> Result<T, serde_json::Error> {
    let tried = &Attachments::new(attachments);
    let result = from_json_with(json, tried);
    if result.is_ok() || attachments.is_empty() || tried.is_misused.get() {
        return result;
    }
    let text = std::str::from_utf8(json).map_err(serde_json::Error::custom)?;
    let ordered = order_placeholders(text, attachments)?;
    if ordered != text {
        return from_json(ordered.as_bytes(), attachments);
    }
    from_json_with(inline_base64(text, attachments)?.as_bytes(), &Attachments::new(&[]))
}

fn from_json_with<T: DeserializeOwned>(
    json: &[u8],
    attachments: &Attachments<'_>,
) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = T::deserialize(WithBytes::new(&mut deserializer, attachments))?;
    deserializer.end()?;
    Ok(value)
}

/// A part of a deserialiser, or of what serde passes around, with the attachments.
struct WithBytes<'a, D> {
    inner: D,
    attachments: &'a Attachments<'a>,
    role: Role,
}

/// What a part of a deserialiser is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Value,
    /// A value of any type.
    AnyValue,
    /// The key of a map.
    Key,
}

impl Role {
    /// The role of what an `Option` or a newtype has: that of a key is a key.
    const fn of_inner(self) -> Self {
        if matches!(self, Self::Key) { Self::Key } else { Self::Value }
    }
}

impl<'a, D> WithBytes<'a, D> {
    const fn new(inner: D, attachments: &'a Attachments<'a>) -> Self {
        Self { inner, attachments, role: Role::Value }
    }

    /// A part of the same value.
    const fn same<P>(inner: P, attachments: &'a Attachments<'a>, role: Role) -> WithBytes<'a, P> {
        WithBytes { inner, attachments, role }
    }

    /// Refuses a placeholder where its value is no bytes.
    fn refuse_placeholder<E: Error>(&self, text: &str) -> Result<(), E> {
        if self.role == Role::Key && text == PLACEHOLDER && !self.attachments.list.is_empty() {
            return Err(E::custom("an attachment in the place of another value"));
        }
        Ok(())
    }
}

macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        fn $name<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let visitor = Self::same(visitor, self.attachments, self.role);
            self.inner.$name($($arg,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for WithBytes<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let role = if self.role == Role::Key { Role::Key } else { Role::AnyValue };
        self.inner.deserialize_any(Self::same(visitor, self.attachments, role))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        if name == RAW_VALUE && !self.attachments.list.is_empty() {
            return Err(D::Error::custom("an attachment in raw JSON"));
        }
        let visitor = Self::same(visitor, self.attachments, self.role);
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    /// Nobody sees what is ignored.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_ignored_any(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(BytesVisitor { visitor, attachments: self.attachments })
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_bytes(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit {
    ($($name:ident($type:ty);)*) => {$(
        fn $name<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$name(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for WithBytes<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        self.refuse_placeholder(value)?;
        self.inner.visit_str(value)
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<V::Value, E> {
        self.refuse_placeholder(value)?;
        self.inner.visit_borrowed_str(value)
    }

    fn visit_string<E: Error>(self, value: String) -> Result<V::Value, E> {
        self.refuse_placeholder(&value)?;
        self.inner.visit_string(value)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, some: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Self::same(some, self.attachments, self.role.of_inner()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Self::same(inner, self.attachments, self.role.of_inner()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(WithBytes::new(access, self.attachments))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<V::Value, A::Error> {
        let attachments = self.attachments;
        let mut first = None;
        if self.role == Role::AnyValue && !attachments.list.is_empty() {
            first = access.next_key::<String>()?;
            if first.as_deref() == Some(PLACEHOLDER) {
                let bytes = take_attachment(access, first, attachments)?;
                return self.inner.visit_byte_buf(bytes);
            }
        }
        self.inner.visit_map(WithBytes::new(Entries { access, first }, attachments))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(WithBytes::new(access, self.attachments))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for WithBytes<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Self::same(inner, self.attachments, self.role))
    }
}

/// The entries of a map, whose first key may have been read.
struct Entries<A> {
    access: A,
    first: Option<String>,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for WithBytes<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_element_seed(WithBytes::new(seed, self.attachments))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithBytes<'_, Entries<A>> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        if let Some(first) = self.inner.first.take() {
            return seed.deserialize(first.into_deserializer()).map(Some);
        }
        let seed = Self::same(seed, self.attachments, Role::Key);
        self.inner.access.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.access.next_value_seed(WithBytes::new(seed, self.attachments))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.access.size_hint()
    }
}

impl<'de, 'a, A: EnumAccess<'de>> EnumAccess<'de> for WithBytes<'a, A> {
    type Error = A::Error;
    type Variant = WithBytes<'a, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, WithBytes::new(variant, self.attachments)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for WithBytes<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(WithBytes::new(seed, self.attachments))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, WithBytes::new(visitor, self.attachments))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, WithBytes::new(visitor, self.attachments))
    }
}

/// Gives bytes to a visitor that asks for them.
struct BytesVisitor<'a, V> {
    visitor: V,
    attachments: &'a Attachments<'a>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for BytesVisitor<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes: an attachment, or base64")
    }

    fn visit_str<E: Error>(self, base64: &str) -> Result<V::Value, E> {
        let bytes = STANDARD.decode(base64).map_err(|_| E::custom("invalid base64"))?;
        self.visitor.visit_byte_buf(bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, numbers: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(numbers)
    }

    fn visit_map<A: MapAccess<'de>>(self, placeholder: A) -> Result<V::Value, A::Error> {
        let taken = take_attachment(placeholder, None, self.attachments);
        let bytes = taken.inspect_err(|_| self.attachments.is_misused.set(true))?;
        self.visitor.visit_byte_buf(bytes)
    }
}

/// Reads a placeholder whose first key may have been read, and takes its attachment.
fn take_attachment<'de, A: MapAccess<'de>>(
    mut placeholder: A,
    mut first: Option<String>,
    attachments: &Attachments<'_>,
) -> Result<Vec<u8>, A::Error> {
    let (mut is_placeholder, mut number) = (false, None);
    loop {
        let key = match first.take() {
            Some(key) => Some(key),
            None => placeholder.next_key::<String>()?,
        };
        match key.as_deref() {
            Some(PLACEHOLDER) => is_placeholder = placeholder.next_value()?,
            Some("num") => number = Some(placeholder.next_value::<usize>()?),
            Some(_) => _ = placeholder.next_value::<IgnoredAny>()?,
            None => break,
        }
    }
    // No attachment has the largest number.
    let number = number.filter(|_| is_placeholder).unwrap_or(usize::MAX);
    attachments.take(number).map(|bytes| bytes.to_vec()).map_err(A::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use serde::Deserialize;
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn placeholders_take_no_more_bytes_than_the_attachments_have() {
        let zero = r#"{"_placeholder":true,"num":0}"#;
        check(&format!("[{zero}]"), Ok(vec![Bytes::from_static(b"zero")]));
        check::<Vec<Bytes>>(&format!("[{zero},{zero}]"), Err("more than once"));
        check::<Vec<Bytes>>(&format!("[{}]", [zero; 1000].join(",")), Err("more than once"));
    }

    #[track_caller]
    fn check<T: DeserializeOwned + PartialEq + Debug>(json: &str, expected: Result<T, &str>) {
        let attachments = [Bytes::from_static(b"zero"), Bytes::from_static(b"one")];
        match (from_json::<T>(json.as_bytes(), &attachments), expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value, expected, "{json}"),
            (Err(error), Err(word)) => assert!(error.to_string().contains(word), "{error}"),
            (value, expected) => panic!("{json}: {value:?}, not {expected:?}"),
        }
    }

    #[derive(Debug, Deserialize, PartialEq)]
    enum Kind {
        Unit,
        Newtype(Bytes),
        Tuple(u8, Bytes),
        Struct { inner: Option<Bytes> },
    }

    const ZERO: &str = r#"{"_placeholder":true,"num":0}"#;
    const ONE: &str = r#"{"num":1,"_placeholder":true}"#;

    #[test]
    fn bytes_anywhere_in_a_value_are_found() {
        let (zero, one) = (Bytes::from_static(b"zero"), Bytes::from_static(b"one"));
        check(ZERO, Ok(zero.clone()));
        check("\"emVybw==\"", Ok(zero.clone()));
        check("[122,101,114,111]", Ok(zero.clone()));
        check(&format!("[{ONE},{ZERO},1]"), Ok((one.clone(), zero.clone(), 1)));
        check(&format!("[{ONE},{ZERO}]"), Ok(vec![one.clone(), zero.clone()]));
        let map = BTreeMap::from([("x".to_owned(), Some(one.clone())), ("y".to_owned(), None)]);
        check(&format!(r#"{{"x":{ONE},"y":null}}"#), Ok(map));
        check("\"Unit\"", Ok(Kind::Unit));
        check(&format!(r#"{{"Newtype":{ONE}}}"#), Ok(Kind::Newtype(one.clone())));
        check(&format!(r#"{{"Tuple":[7,{ONE}]}}"#), Ok(Kind::Tuple(7, one)));
        check(
            &format!(r#"{{"Struct":{{"inner":{ZERO}}}}}"#),
            Ok(Kind::Struct { inner: Some(zero) }),
        );
        check("\"emVybw==\"", Ok("emVybw==".to_owned()));
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
        Bytes(Bytes),
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(tag = "kind")]
    enum Tagged {
        File { data: Bytes },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Flat {
        #[serde(flatten)]
        rest: BTreeMap<String, Bytes>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Forged {
        _placeholder: bool,
        num: u32,
    }

    #[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
    struct Key(String);

    #[derive(Debug, Deserialize, PartialEq)]
    struct AllOptional {
        a: Option<u8>,
    }

    /// A placeholder means nothing outside its packet.
    #[test]
    fn no_value_has_a_placeholder_in_place_of_an_attachment() {
        let (zero, one) = (Bytes::from_static(b"zero"), Bytes::from_static(b"one"));
        for placeholder in [ZERO, r#"{"num":0,"_placeholder":true}"#] {
            check(placeholder, Ok(Value::from("emVybw==")));
            check(placeholder, Ok("emVybw==".to_owned()));
            check::<BTreeMap<String, Value>>(placeholder, Err("expected a map"));
            check::<BTreeMap<Key, Value>>(placeholder, Err("expected a map"));
            check::<BTreeMap<Option<String>, Value>>(placeholder, Err("expected a map"));
            check::<Forged>(placeholder, Err("expected struct"));
            check::<AllOptional>(placeholder, Err("expected struct"));
            check::<Kind>(placeholder, Err("unknown variant"));
        }
        let nested = format!(r#"{{"a":[{ONE},{{"b":{ZERO},"c":1}}],"num":{ONE}}}"#);
        let expected = json!({ "a": ["b25l", { "b": "emVybw==", "c": 1 }], "num": "b25l" });
        check::<Value>(&nested, Err("more than once"));
        let nested = nested.replace(&format!(r#","num":{ONE}"#), r#","num":"b25l""#);
        check(&nested, Ok(expected));
        let raw = from_json::<Box<RawValue>>(ZERO.as_bytes(), std::slice::from_ref(&zero));
        assert_eq!(raw.unwrap().get(), r#""emVybw==""#);
        check(&format!("[{ONE},{ZERO}]"), Ok((Value::from("b25l"), zero.clone())));
        // What serde buffers has the bytes, whatever the order of the fields.
        for placeholder in [ZERO, r#"{"num":0,"_placeholder":true}"#] {
            check(placeholder, Ok(Untagged::Bytes(zero.clone())));
            let tagged = format!(r#"{{"kind":"File","data":{placeholder}}}"#);
            check(&tagged, Ok(Tagged::File { data: zero.clone() }));
            let pair = (zero.clone(), Tagged::File { data: one.clone() });
            check(&format!(r#"[{placeholder},{{"kind":"File","data":{ONE}}}]"#), Ok(pair));
        }
        check("7", Ok(Untagged::Number(7)));
        let rest = BTreeMap::from([("a".to_owned(), zero), ("num".to_owned(), one)]);
        check(&format!(r#"{{"a":{ZERO},"num":{ONE}}}"#), Ok(Flat { rest }));
        // Unless a value beside them has no place for bytes.
        let rest = BTreeMap::from([("a".to_owned(), Bytes::from_static(b"b25l"))]);
        let expected = (Value::from("emVybw=="), Flat { rest });
        check(&format!(r#"[{ZERO},{{"a":{ONE}}}]"#), Ok(expected));
        // These are no placeholders.
        for data in [r#"{"_placeholder":false,"num":0}"#, r#"{"num":{"_placeholder":1}}"#] {
            check(data, Ok(serde_json::from_str::<Value>(data).unwrap()));
        }
        check("{}", Ok(AllOptional { a: None }));
    }

    #[test]
    fn what_is_not_bytes_is_an_error() {
        check::<Bytes>("\"*\"", Err("base64"));
        check::<Bytes>(r#"{"_placeholder":true,"num":2}"#, Err("attachment"));
        check::<Bytes>(r#"{"_placeholder":false,"num":0}"#, Err("attachment"));
        check::<Bytes>(r#"{"_placeholder":true,"num":-1}"#, Err("invalid value"));
        check::<Bytes>("{}", Err("attachment"));
        check::<Bytes>("1", Err("bytes"));
        check::<Bytes>("null", Err("bytes"));
        check::<Bytes>("[300]", Err("invalid value"));
        check::<u8>("1 2", Err("trailing"));
    }
}
