//! tributary-da
