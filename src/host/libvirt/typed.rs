//! libvirt's typed parameters, read and written in one place. It does not know what they tune.

use std::collections::BTreeMap;
use std::ffi::CStr;

use virt_sys as sys;

use super::{LibvirtError, check};
use crate::tunable::ParameterGroup;

/// A value with the type libvirt gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum TypedValue {
    /// 32 bits, signed.
    Int(i32),
    /// 32 bits, unsigned.
    UInt(u32),
    /// 64 bits, signed.
    LLong(i64),
    /// 64 bits, unsigned.
    ULLong(u64),
    /// A floating-point number.
    Double(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    String(String),
}

impl TypedValue {
    /// The value as a whole number, when it is one.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Int(v) => Some(v.into()),
            Self::UInt(v) => Some(v.into()),
            Self::LLong(v) => Some(v),
            Self::ULLong(v) => i64::try_from(v).ok(),
            Self::Bool(v) => Some(v.into()),
            Self::Double(_) | Self::String(_) => None,
        }
    }

    /// `number` in the type of `self`, when it fits.
    fn same_type(&self, number: i64) -> Option<Self> {
        Some(match self {
            Self::Int(_) => Self::Int(number.try_into().ok()?),
            Self::UInt(_) => Self::UInt(number.try_into().ok()?),
            Self::LLong(_) => Self::LLong(number),
            Self::ULLong(_) => Self::ULLong(number.try_into().ok()?),
            Self::Bool(_) => Self::Bool(u8::try_from(number).ok().filter(|&v| v < 2)? == 1),
            Self::Double(_) | Self::String(_) => return None,
        })
    }
}

type Getter = unsafe extern "C" fn(sys::virDomainPtr, sys::virTypedParameterPtr, *mut i32, u32) -> i32;
type Setter = unsafe extern "C" fn(sys::virDomainPtr, sys::virTypedParameterPtr, i32, u32) -> i32;

/// The calls that read and write a group; those of [`ParameterGroup::Throttle`] take a disk too.
fn calls(group: ParameterGroup) -> Option<(Getter, Setter)> {
    Some(match group {
        ParameterGroup::Scheduler => (
            sys::virDomainGetSchedulerParametersFlags,
            sys::virDomainSetSchedulerParametersFlags,
        ),
        ParameterGroup::Memory => (
            sys::virDomainGetMemoryParameters,
            sys::virDomainSetMemoryParameters,
        ),
        ParameterGroup::Blkio => (sys::virDomainGetBlkioParameters, sys::virDomainSetBlkioParameters),
        ParameterGroup::Throttle => return None,
    })
}

fn word(group: ParameterGroup) -> &'static str {
    match group {
        ParameterGroup::Scheduler => "scheduler",
        ParameterGroup::Memory => "memory",
        ParameterGroup::Blkio => "block I/O",
        ParameterGroup::Throttle => "throttle",
    }
}

const EMPTY: sys::virTypedParameter = sys::virTypedParameter {
    field: [0; 80],
    type_: 0,
    value: sys::_virTypedParameterValue { ul: 0 },
};

/// Reads a group from a running domain.
///
/// # Safety
/// `domain` must be a valid handle.
pub(super) unsafe fn read(
    domain: sys::virDomainPtr,
    group: ParameterGroup,
    name: &str,
) -> Result<BTreeMap<String, TypedValue>, LibvirtError> {
    let doing = || format!("read the {} values of domain {name}", word(group));
    let Some((get, _)) = calls(group) else {
        return Err(LibvirtError::own(doing(), "they belong to a disk"));
    };
    let mut count = 0;
    if group == ParameterGroup::Scheduler {
        // SAFETY: a valid handle; the returned string is ours and freed at once.
        let kind = unsafe { sys::virDomainGetSchedulerType(domain, &raw mut count) };
        check(if kind.is_null() { -1 } else { 0 }, doing)?;
        // SAFETY: libvirt allocated it with malloc and gives it away.
        unsafe { nix::libc::free(kind.cast()) };
    } else {
        // SAFETY: a null array with a zero count asks for the count.
        check(
            unsafe {
                get(
                    domain,
                    std::ptr::null_mut(),
                    &raw mut count,
                    sys::VIR_DOMAIN_AFFECT_LIVE,
                )
            },
            doing,
        )?;
    }
    let mut values = vec![EMPTY; usize::try_from(count).unwrap_or(0)];
    let flags = sys::VIR_DOMAIN_AFFECT_LIVE | sys::VIR_TYPED_PARAM_STRING_OKAY;
    // SAFETY: the array holds `count` elements, and libvirt writes no more and lowers `count` to what it wrote.
    check(
        unsafe { get(domain, values.as_mut_ptr(), &raw mut count, flags) },
        doing,
    )?;
    values.truncate(usize::try_from(count).unwrap_or(0));
    // SAFETY: each element was written by libvirt.
    let read = values
        .iter()
        .filter_map(|value| unsafe { decode(value) })
        .collect();
    // SAFETY: frees the strings libvirt put into the elements; the array itself is ours.
    unsafe { sys::virTypedParamsClear(values.as_mut_ptr(), count) };
    Ok(read)
}

/// Changes one value on a running domain; its type is the one libvirt reads it with.
///
/// # Safety
/// `domain` must be a valid handle.
pub(super) unsafe fn write(
    domain: sys::virDomainPtr,
    group: ParameterGroup,
    name: &str,
    (field, number): (&str, i64),
) -> Result<(), LibvirtError> {
    let doing = || format!("set {field} of domain {name} to {number}");
    // SAFETY: passed on from the caller.
    let known = unsafe { read(domain, group, name) }?;
    let Some(current) = known.get(field) else {
        let names: Vec<_> = known.keys().map(String::as_str).collect();
        let text = format!("this host offers only {}", names.join(", "));
        return Err(LibvirtError::own(doing(), &text));
    };
    let encoded = current.same_type(number).and_then(|value| encode(field, &value));
    let Some(mut encoded) = encoded else {
        return Err(LibvirtError::own(
            doing(),
            "the number does not fit the value's type",
        ));
    };
    let Some((_, set)) = calls(group) else {
        return Err(LibvirtError::own(doing(), "it belongs to a disk"));
    };
    // SAFETY: one element, holding no pointer, alive during the call.
    check(
        unsafe { set(domain, &raw mut encoded, 1, sys::VIR_DOMAIN_AFFECT_LIVE) },
        doing,
    )?;
    Ok(())
}

/// # Safety
/// `raw` must have been written by libvirt: its type says which member of the union is set, and its
/// name ends with NUL.
unsafe fn decode(raw: &sys::virTypedParameter) -> Option<(String, TypedValue)> {
    // SAFETY: as above; only the member the type names is read.
    unsafe {
        let value = match u32::try_from(raw.type_).ok()? {
            sys::VIR_TYPED_PARAM_INT => TypedValue::Int(raw.value.i),
            sys::VIR_TYPED_PARAM_UINT => TypedValue::UInt(raw.value.ui),
            sys::VIR_TYPED_PARAM_LLONG => TypedValue::LLong(raw.value.l),
            sys::VIR_TYPED_PARAM_ULLONG => TypedValue::ULLong(raw.value.ul),
            sys::VIR_TYPED_PARAM_DOUBLE => TypedValue::Double(raw.value.d),
            sys::VIR_TYPED_PARAM_BOOLEAN => TypedValue::Bool(raw.value.b != 0),
            sys::VIR_TYPED_PARAM_STRING if !raw.value.s.is_null() => {
                TypedValue::String(CStr::from_ptr(raw.value.s).to_string_lossy().into_owned())
            }
            _ => return None,
        };
        Some((
            CStr::from_ptr(raw.field.as_ptr()).to_string_lossy().into_owned(),
            value,
        ))
    }
}

/// None for text, which libvirt would have to own, and for names that do not fit.
fn encode(field: &str, value: &TypedValue) -> Option<sys::virTypedParameter> {
    let (kind, value) = match *value {
        TypedValue::Int(i) => (sys::VIR_TYPED_PARAM_INT, sys::_virTypedParameterValue { i }),
        TypedValue::UInt(ui) => (sys::VIR_TYPED_PARAM_UINT, sys::_virTypedParameterValue { ui }),
        TypedValue::LLong(l) => (sys::VIR_TYPED_PARAM_LLONG, sys::_virTypedParameterValue { l }),
        TypedValue::ULLong(ul) => (sys::VIR_TYPED_PARAM_ULLONG, sys::_virTypedParameterValue { ul }),
        TypedValue::Double(d) => (sys::VIR_TYPED_PARAM_DOUBLE, sys::_virTypedParameterValue { d }),
        TypedValue::Bool(b) => (
            sys::VIR_TYPED_PARAM_BOOLEAN,
            sys::_virTypedParameterValue { b: b.into() },
        ),
        TypedValue::String(_) => return None,
    };
    let mut raw = sys::virTypedParameter {
        type_: i32::try_from(kind).ok()?,
        value,
        ..EMPTY
    };
    // The last byte stays NUL.
    if field.is_empty() || field.len() >= raw.field.len() || !field.is_ascii() || field.contains('\0') {
        return None;
    }
    for (to, from) in raw.field.iter_mut().zip(field.bytes()) {
        *to = from.cast_signed();
    }
    Some(raw)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_c_struct() {
        let values = [
            TypedValue::Int(-3),
            TypedValue::UInt(u32::MAX),
            TypedValue::LLong(i64::MIN),
            TypedValue::ULLong(u64::MAX),
            TypedValue::Double(1.5),
            TypedValue::Bool(true),
        ];
        for value in values {
            let raw = encode("vcpu_quota", &value).unwrap();
            // SAFETY: written by `encode` as libvirt would.
            assert_eq!(unsafe { decode(&raw) }, Some(("vcpu_quota".to_owned(), value)));
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        assert_eq!(TypedValue::UInt(0).same_type(-1), None);
        assert_eq!(TypedValue::Int(0).same_type(1 << 40), None);
        assert_eq!(TypedValue::Bool(false).same_type(2), None);
        assert_eq!(TypedValue::ULLong(7).same_type(2), Some(TypedValue::ULLong(2)));
        assert!(encode(&"x".repeat(80), &TypedValue::Int(0)).is_none());
        assert!(encode("a\0b", &TypedValue::Int(0)).is_none());
        // SAFETY: an empty element names no type, so no member is read.
        assert_eq!(unsafe { decode(&EMPTY) }, None);
    }
}
