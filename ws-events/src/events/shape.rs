//! How many arguments is a value: none, one, or each element of a tuple?

use std::fmt;

use serde::Serialize;
use serde::ser::Serializer;

/// The arguments that a value stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ArgShape {
    /// `()`.
    Nothing,
    #[default]
    One,
    /// A tuple, or an array of fixed length, which serde does not distinguish.
    Tuple,
}

impl ArgShape {
    /// Its number between the nodes of a cluster.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::One => 1,
            Self::Tuple => 2,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Nothing),
            1 => Some(Self::One),
            2 => Some(Self::Tuple),
            _ => None,
        }
    }
}

/// Serialises a value by another serialiser, and notes its shape.
pub(crate) struct ShapeSerializer<'a, S> {
    pub(crate) inner: S,
    pub(crate) shape: &'a mut ArgShape,
}

macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        fn $name(self, $($arg: $type),*) -> Result<S::Ok, S::Error> {
            self.inner.$name($($arg),*)
        }
    )*};
}

impl<S: Serializer> Serializer for ShapeSerializer<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = S::SerializeSeq;
    type SerializeTuple = S::SerializeTuple;
    type SerializeTupleStruct = S::SerializeTupleStruct;
    type SerializeTupleVariant = S::SerializeTupleVariant;
    type SerializeMap = S::SerializeMap;
    type SerializeStruct = S::SerializeStruct;
    type SerializeStructVariant = S::SerializeStructVariant;

    forward! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_f32(value: f32);
        serialize_f64(value: f64);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        *self.shape = ArgShape::Nothing;
        self.inner.serialize_unit()
    }

    fn serialize_tuple(self, len: usize) -> Result<S::SerializeTuple, S::Error> {
        *self.shape = ArgShape::Tuple;
        self.inner.serialize_tuple(len)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(value)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_struct(name, value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_variant(name, index, variant, value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<S::SerializeSeq, S::Error> {
        self.inner.serialize_seq(len)
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<S::SerializeTupleStruct, S::Error> {
        self.inner.serialize_tuple_struct(name, len)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<S::SerializeTupleVariant, S::Error> {
        self.inner.serialize_tuple_variant(name, index, variant, len)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<S::SerializeMap, S::Error> {
        self.inner.serialize_map(len)
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<S::SerializeStruct, S::Error> {
        self.inner.serialize_struct(name, len)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<S::SerializeStructVariant, S::Error> {
        self.inner.serialize_struct_variant(name, index, variant, len)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Serialize)]
    struct Pair(u8, u8);

    #[track_caller]
    fn check(value: &impl Serialize, expected: ArgShape) {
        let (mut json, mut shape) = (Vec::new(), ArgShape::One);
        let inner = &mut serde_json::Serializer::new(&mut json);
        value.serialize(ShapeSerializer { inner, shape: &mut shape }).unwrap();
        assert_eq!(shape, expected);
        assert_eq!(json, serde_json::to_vec(value).unwrap());
    }

    #[test]
    fn a_tuple_is_several_arguments_and_anything_else_is_one() {
        check(&(), ArgShape::Nothing);
        check(&(1, "a"), ArgShape::Tuple);
        check(&(1,), ArgShape::Tuple);
        check(&[1, 2], ArgShape::Tuple);
        check(&vec![1, 2], ArgShape::One);
        check(&Pair(1, 2), ArgShape::One);
        check(&"a", ArgShape::One);
        check(&1, ArgShape::One);
        check(&None::<(u8, u8)>, ArgShape::One);
        check(&Some((1, 2)), ArgShape::One);
        check(&BTreeMap::from([(1, 2)]), ArgShape::One);
        check(&serde_json::json!([1, { "a": 'x' }]), ArgShape::One);
    }
}
