//! How are values deserialised from the data of an event, whose bytes are not in the JSON?
//!
//! A wrapper of a deserialiser. Where a value asks for bytes, such as [`Bytes`], it takes an
//! attachment, base64, or a list of numbers. It passes everything else on. A value that serde
//! buffers first, such as a field of a `flatten` or an untagged enum, does not ask for bytes.

use std::cell::Cell;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

/// Deserialises JSON. A placeholder stands for one of the attachments.
pub(crate) fn from_json<T: DeserializeOwned>(
    json: &[u8],
    attachments: &[Bytes],
) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let left = Cell::new(attachments.iter().map(Bytes::len).sum());
    let attachments = &Attachments { list: attachments, left };
    let value = T::deserialize(WithBytes { inner: &mut deserializer, attachments })?;
    deserializer.end()?;
    Ok(value)
}

/// The attachments of an event.
struct Attachments<'a> {
    list: &'a [Bytes],
    /// How many bytes placeholders may still take: several of them may stand for one attachment,
    /// and must not multiply what the peer has sent.
    left: Cell<usize>,
}

impl Attachments<'_> {
    /// The bytes for a placeholder.
    fn take(&self, number: usize) -> Result<Vec<u8>, &'static str> {
        let bytes = self.list.get(number).ok_or("neither bytes nor an attachment that exists")?;
        let left = self.left.get().checked_sub(bytes.len());
        self.left.set(left.ok_or("an attachment is used more than once")?);
        Ok(bytes.to_vec())
    }
}

/// A part of a deserialiser, or of what serde passes around, with the attachments.
struct WithBytes<'a, D> {
    inner: D,
    attachments: &'a Attachments<'a>,
}

impl<'a, D> WithBytes<'a, D> {
    const fn new(inner: D, attachments: &'a Attachments<'a>) -> Self {
        Self { inner, attachments }
    }
}

macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        fn $name<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$name($($arg,)* WithBytes::new(visitor, self.attachments))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for WithBytes<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any();
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
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
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
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, some: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(WithBytes::new(some, self.attachments))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(WithBytes::new(inner, self.attachments))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(WithBytes::new(access, self.attachments))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(WithBytes::new(access, self.attachments))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(WithBytes::new(access, self.attachments))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for WithBytes<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(WithBytes::new(inner, self.attachments))
    }
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

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithBytes<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(WithBytes::new(seed, self.attachments))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
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

    fn visit_map<A: MapAccess<'de>>(self, mut placeholder: A) -> Result<V::Value, A::Error> {
        let (mut is_placeholder, mut number) = (false, None);
        while let Some(key) = placeholder.next_key::<String>()? {
            match &*key {
                "_placeholder" => is_placeholder = placeholder.next_value()?,
                "num" => number = Some(placeholder.next_value::<usize>()?),
                _ => _ = placeholder.next_value::<IgnoredAny>()?,
            }
        }
        // No attachment has the largest number.
        let number = number.filter(|_| is_placeholder).unwrap_or(usize::MAX);
        let bytes = self.attachments.take(number).map_err(A::Error::custom)?;
        self.visitor.visit_byte_buf(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use serde::Deserialize;
    use serde_json::Value;

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
        // Not asked for: the JSON as it is.
        check(ZERO, Ok(serde_json::from_str::<Value>(ZERO).unwrap()));
        check("\"emVybw==\"", Ok("emVybw==".to_owned()));
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
