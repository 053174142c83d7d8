"""Keep a LlamaIndex index in T4DM, and search it by meaning, by words and by filters.

Needs `pip install 't4dm[llamaindex]'` and a running daemon (`t4dm serve`) at T4DM_URL, by default
http://127.0.0.1:8765.
The daemon makes the vectors here, so nothing is downloaded and no API key is needed. With an embed model of your own,
leave out `embedder="server"` and give the model instead of `MockEmbedding`.
"""

from llama_index.core import Document, MockEmbedding, Settings, StorageContext, VectorStoreIndex
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters

from t4dm.adapters.llamaindex import T4DMVectorStore

Settings.tokenizer = str.split  # LlamaIndex's own would be downloaded
Settings.embed_model = MockEmbedding(embed_dim=1)

store = T4DMVectorStore(space="example-llamaindex", embedder="server")
documents = [
    Document(id_="ferry", text="The ferry to the islands leaves from pier four.", metadata={"year": 2024}),
    Document(id_="rent", text="The rent is due on the third of each month.", metadata={"year": 2025}),
    Document(id_="key", text="The spare key hangs behind the fuse box.", metadata={"year": 2026}),
]
for document in documents:  # so that the example can be run again
    store.delete(document.id_)
index = VectorStoreIndex.from_documents(
    documents, storage_context=StorageContext.from_defaults(vector_store=store), transformations=[]
)

for hit in index.as_retriever(similarity_top_k=1).retrieve("Where do I catch the boat?"):
    print(f"meaning: {hit.score:.2f}  {hit.text}")

for hit in index.as_retriever(vector_store_query_mode="text_search", similarity_top_k=1).retrieve("fuse box"):
    print(f"words: {hit.text}")

recent = MetadataFilters(filters=[MetadataFilter(key="year", value=2024, operator=FilterOperator.GT)])
for hit in index.as_retriever(filters=recent, similarity_top_k=3).retrieve("Where do I catch the boat?"):
    print(f"filtered: {hit.metadata['year']}  {hit.text}")

index.delete_ref_doc("ferry")
print(f"left: {len(store.get_nodes())}")
store.close()
