//! What the arguments of a call show to the conditions of a rule.

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_ATTRIBUTE_TYPE, CK_MECHANISM, CK_MECHANISM_TYPE, CK_OBJECT_HANDLE,
    CK_SESSION_HANDLE, CK_SLOT_ID, CK_ULONG, CKA_LABEL,
};

use crate::attributes;

/// What one call shows. A call that lacks something leaves it empty.
#[derive(Default)]
pub struct Seen<'a> {
    pub mechanism: Option<CK_MECHANISM_TYPE>,
    pub template: Vec<&'a CK_ATTRIBUTE>,
    pub data: Option<&'a [u8]>,
    pub slot: Option<CK_SLOT_ID>,
    /// The object, or the key that does the work.
    pub object: Option<(CK_SESSION_HANDLE, CK_OBJECT_HANDLE)>,
    /// The output pointer is NULL: the call asks for a length and does nothing.
    pub asks_length: bool,
    pub read_only: bool,
}

impl<'a> Seen<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn slot(mut self, slot: CK_SLOT_ID) -> Self {
        self.slot = Some(slot);
        self
    }

    pub fn object(mut self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Self {
        self.object = Some((session, object));
        self
    }

    /// # Safety
    /// `mechanism` must be NULL or point to a mechanism.
    pub unsafe fn mechanism(mut self, mechanism: *const CK_MECHANISM) -> Self {
        self.mechanism = unsafe { mechanism.as_ref() }.map(|each| each.mechanism);
        self
    }

    /// Adds to the template: C_GenerateKeyPair has two.
    ///
    /// # Safety
    /// `template` must be NULL or point to `count` attributes.
    pub unsafe fn template(mut self, template: *const CK_ATTRIBUTE, count: CK_ULONG) -> Self {
        if !template.is_null() {
            self.template
                .extend(unsafe { std::slice::from_raw_parts(template, count as usize) });
        }
        self
    }

    /// The template of C_GetAttributeValue.
    ///
    /// # Safety
    /// As for `template`.
    pub unsafe fn reading(self, template: *const CK_ATTRIBUTE, count: CK_ULONG) -> Self {
        let mut seen = unsafe { self.template(template, count) };
        seen.asks_length = seen.template.iter().all(|each| each.pValue.is_null());
        seen
    }

    /// # Safety
    /// `data` must be NULL or point to `length` bytes.
    pub unsafe fn data(mut self, data: *const u8, length: CK_ULONG) -> Self {
        if !data.is_null() {
            self.data = Some(unsafe { std::slice::from_raw_parts(data, length as usize) });
        }
        self
    }

    /// The value of an attribute of the template.
    pub fn attribute(&self, kind: CK_ATTRIBUTE_TYPE) -> Option<&[u8]> {
        let found = self.template.iter().find(|each| each.type_ == kind)?;
        if found.pValue.is_null() {
            return Some(&[]);
        }
        // The caller of the PKCS#11 function has promised that these bytes exist.
        Some(unsafe { std::slice::from_raw_parts(found.pValue.cast(), found.ulValueLen as usize) })
    }

    /// Whether the object or the template has this CKA_LABEL.
    pub fn has_label(&self, label: &[u8]) -> bool {
        let of_object =
            |(session, object)| attributes::label(session, object).as_deref() == Some(label);
        self.object.is_some_and(of_object) || self.attribute(CKA_LABEL) == Some(label)
    }

    pub fn output<T>(mut self, output: *const T) -> Self {
        self.asks_length = output.is_null();
        self
    }
}
