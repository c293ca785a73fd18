// Sentences to vectors with ONNX Runtime and DJL's tokenizers, on Android or any JVM: OnnxClientKt FOLDER NAME [EXPECTED]
// Gradle: com.microsoft.onnxruntime:onnxruntime-android, ai.djl.huggingface:tokenizers, ai.djl.android:tokenizer-native,
// com.fasterxml.jackson.core:jackson-databind
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import com.fasterxml.jackson.databind.ObjectMapper
import java.io.File
import java.nio.file.Path
import kotlin.system.exitProcess

class Embedder(folder: String, name: String) {
    private val environment = OrtEnvironment.getEnvironment()
    private val session = environment.createSession("$folder/onnx/$name")
    private val limit = session.metadata.customMetadata.getValue("max_tokens").toInt()
    private val tokenizer = HuggingFaceTokenizer.builder().optTokenizerPath(Path.of(folder, "tokenizer.json"))
        .optPadding(false).optTruncation(limit > 0).optMaxLength(if (limit > 0) limit else Int.MAX_VALUE).build()

    fun embed(text: String): FloatArray {
        val ids = tokenizer.encode(text).ids
        val rows = listOf(ids, LongArray(ids.size) { 1 }, LongArray(ids.size))
        val names = listOf("input_ids", "attention_mask", "token_type_ids")
        val feed = names.zip(rows.map { OnnxTensor.createTensor(environment, arrayOf(it)) }).toMap()
        return session.run(feed, setOf("sentence_embedding")).use { (it[0].value as Array<*>)[0] as FloatArray }
    }
}

fun main(words: Array<String>) {
    val (folder, name) = words
    val expected = ObjectMapper().readTree(File(words.getOrElse(2) { "$folder/onnx/expected.json" }))
    val texts = expected["texts"].filter { it["text"].asText().isNotEmpty() }
    val embedder = Embedder(folder, name)
    val worst = texts.minOf { row ->
        val found = embedder.embed(row["text"].asText())
        found.indices.sumOf { found[it] * row["vector"][it].asDouble() }
    }
    println("worst cosine %.7f of %d texts".format(worst, texts.size))
    exitProcess(if (worst >= expected["artifacts"][name]["worst_cosine"].asDouble()) 0 else 1)
}
