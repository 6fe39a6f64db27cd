package ai.edgebit.example

import java.io.Closeable
import java.io.File

/** One message of a conversation; [role] is "system", "user" or "assistant". */
data class Message(val role: String, val content: String)

/** How tokens are chosen. Temperature 0 takes the likeliest; the same seed gives the same answer on every phone. */
data class Sampling(
    val temperature: Float = 0f,
    val topK: Int = 0,
    val topP: Float = 1f,
    val minP: Float = 0f,
    val seed: Long = 0,
)

/**
 * An open bundle folder with one conversation in its KV cache. For one thread at a time, and not the one of the user
 * interface: opening takes milliseconds, answering seconds. Only [stop] may be called from elsewhere.
 */
class Model(folder: File, threads: Int = 0) : Closeable {
    private var handle = Native.open(folder.path.toByteArray(), threads)

    val tier: String = Native.tier(handle)
    val threads: Int = Native.threads(handle)
    val context: Int = Native.context(handle)

    /**
     * The assistant's answer, shown piece by piece and returned whole. What a conversation shares with the one before
     * is not evaluated again.
     */
    fun answer(
        messages: List<Message>,
        sampling: Sampling = Sampling(),
        maxTokens: Int = 0,
        show: (String) -> Unit,
    ): String {
        check(handle != 0L) { "the model is closed" }
        val whole = StringBuilder()
        Native.answer(
            handle,
            messages.map { it.role.toByteArray() }.toTypedArray(),
            messages.map { it.content.toByteArray() }.toTypedArray(),
            maxTokens,
            sampling.temperature,
            sampling.topK,
            sampling.topP,
            sampling.minP,
            sampling.seed,
        ) { utf8 ->
            val piece = String(utf8, Charsets.UTF_8)
            whole.append(piece)
            show(piece)
        }
        return whole.toString()
    }

    /** Ends the answer that is running. The model must be open. */
    fun stop() = Native.stop(handle)

    override fun close() {
        if (handle != 0L) Native.close(handle)
        handle = 0L
    }
}
