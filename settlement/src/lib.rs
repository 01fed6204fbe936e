//! tributary-settlement
