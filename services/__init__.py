"""The services, a folder each. They share `shared/` and the contracts, and never import each other."""
