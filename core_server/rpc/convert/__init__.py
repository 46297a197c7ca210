"""Pairs between messages and domain values: `to_proto_x` trusts, `from_proto_x` refuses what is outside the limits.

Every refusal is an `InvalidRequest` whose field is the path from the request's root, such as
"generation.inpaint.strength".
"""
