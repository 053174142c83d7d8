"""HTTP routers that speak other products' protocols over a `t4dm` memory backend."""
