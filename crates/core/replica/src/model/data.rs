//! Application types as bytes.

/// Bytes that do not encode a value of the expected type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("these bytes do not encode a {wanted}")]
pub struct DataError {
    /// The expected type, in words.
    pub wanted: &'static str,
}

/// A type that can be a key, an element or a value. The order of the bytes is the order of the type, so that
/// sorted collections can be read in it.
pub trait Data: Sized {
    /// The bytes that encode this value.
    fn to_data(&self) -> Vec<u8>;

    /// The value that these bytes encode.
    fn from_data(bytes: &[u8]) -> Result<Self, DataError>;
}

impl Data for String {
    fn to_data(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_data(bytes: &[u8]) -> Result<Self, DataError> {
        Self::from_utf8(bytes.to_vec()).map_err(|_| DataError { wanted: "UTF-8 text" })
    }
}

impl Data for Vec<u8> {
    fn to_data(&self) -> Vec<u8> {
        self.clone()
    }

    fn from_data(bytes: &[u8]) -> Result<Self, DataError> {
        Ok(bytes.to_vec())
    }
}

impl Data for bool {
    fn to_data(&self) -> Vec<u8> {
        vec![u8::from(*self)]
    }

    fn from_data(bytes: &[u8]) -> Result<Self, DataError> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(DataError { wanted: "truth value" }),
        }
    }
}

macro_rules! numbers {
    ($($unsigned:ident, $signed:ident, $name:literal;)*) => {$(
        impl Data for $unsigned {
            fn to_data(&self) -> Vec<u8> {
                self.to_be_bytes().to_vec()
            }

            fn from_data(bytes: &[u8]) -> Result<Self, DataError> {
                bytes.try_into().map(Self::from_be_bytes).map_err(|_| DataError { wanted: $name })
            }
        }

        impl Data for $signed {
            fn to_data(&self) -> Vec<u8> {
                // With the sign bit flipped, negative numbers sort before the others.
                (self.cast_unsigned() ^ (1 << ($signed::BITS - 1))).to_data()
            }

            fn from_data(bytes: &[u8]) -> Result<Self, DataError> {
                Ok(($unsigned::from_data(bytes)? ^ (1 << ($signed::BITS - 1))).cast_signed())
            }
        }
    )*};
}

numbers! {
    u32, i32, "number of 32 bits";
    u64, i64, "number of 64 bits";
    u128, i128, "number of 128 bits";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn data_round_trips_in_order(a: i64, b: i64, c in ".{0,6}", d in ".{0,6}") {
            prop_assert_eq!(i64::from_data(&a.to_data()), Ok(a));
            prop_assert_eq!(String::from_data(&c.to_data()), Ok(c.clone()));
            prop_assert_eq!(a.to_data().cmp(&b.to_data()), a.cmp(&b));
            prop_assert_eq!(a.cast_unsigned().to_data().cmp(&b.cast_unsigned().to_data()), a.cast_unsigned().cmp(&b.cast_unsigned()));
            prop_assert_eq!(c.to_data().cmp(&d.to_data()), c.cmp(&d));
        }
    }
}
