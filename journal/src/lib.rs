//! tributary-journal
