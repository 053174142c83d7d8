"""A LangChain vector store and a retriever that last: documents are stored, filtered, replaced and found again.

The daemon makes the vectors, so this runs offline. Needs a running daemon (`t4dm serve`) at T4DM_URL, by default
http://127.0.0.1:8765, and: pip install 't4dm[langchain]'
"""

from langchain_core.documents import Document

from t4dm.adapters.langchain import T4DMRetriever, T4DMVectorStore

DOCUMENTS = [
    Document(id="ferry", page_content="The ferry to the island leaves from pier four.", metadata={"price": 12.5}),
    Document(id="train", page_content="The night train to the coast leaves at ten.", metadata={"price": 49}),
    Document(id="bread", page_content="Bread is baked at five in the morning.", metadata={"price": 3.2}),
]

with T4DMVectorStore(space="langchain-example", user_id="ada") as store:
    store.delete(delete_all=True)  # so that running it again begins afresh
    store.add_documents(DOCUMENTS)

    print("similar:  ", store.similarity_search("Where do I catch the boat?", k=1)[0].page_content)
    cheap = store.similarity_search("travelling", k=3, filter={"price": {"$lt": 20}})
    print("cheap:    ", sorted(document.id or "" for document in cheap))

    store.add_documents([Document(id="ferry", page_content="The ferry to the island leaves from pier six.")])
    retriever = T4DMRetriever(space="langchain-example", user_id="ada", k=1, score_key="score")
    (found,) = retriever.invoke("Which pier does the ferry leave from?")
    print(f"retrieved: {found.page_content} ({found.metadata['score']:.2f})")
    retriever.close()
