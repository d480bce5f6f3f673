# SPDX-License-Identifier: Apache-2.0
"""Chroma's places for what is in vkb.embedding_functions and vkb.data_loaders."""
