package ai.edgebit.example

import android.app.Activity
import android.os.Bundle
import android.widget.Button
import android.widget.EditText
import android.widget.ScrollView
import android.widget.TextView
import java.util.concurrent.Executors

/** A conversation: the model works on a thread of its own, its text appears as it comes. */
class MainActivity : Activity() {
    private val worker = Executors.newSingleThreadExecutor()
    private val messages = mutableListOf<Message>() // the worker's
    @Volatile private var model: Model? = null
    private var answering = false

    private lateinit var scroll: ScrollView
    private lateinit var transcript: TextView
    private lateinit var message: EditText
    private lateinit var send: Button

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_main)
        scroll = findViewById(R.id.scroll)
        transcript = findViewById(R.id.transcript)
        message = findViewById(R.id.message)
        send = findViewById(R.id.send)
        send.setOnClickListener { if (answering) model?.stop() else ask() }
        message.setOnEditorActionListener { _, _, _ ->
            if (!answering && send.isEnabled) ask()
            true
        }
        show(getString(R.string.loading))
        work { open() }
    }

    /** An answer that is running ends; the model is closed behind it. */
    override fun onDestroy() {
        super.onDestroy()
        model?.stop()
        worker.execute { close() }
        worker.shutdown()
    }

    // ---- on the worker ---------------------------------------------------------------------------

    private fun open() {
        val opened = Model(ModelFiles.unpack(this))
        model = opened
        later {
            show(getString(R.string.ready, opened.tier, opened.threads, opened.context))
            send.isEnabled = true
        }
    }

    private fun close() {
        val closing = model
        model = null
        closing?.close()
    }

    /** An answer that fails takes its question back. */
    private fun answer(text: String) {
        val open = model ?: return
        messages += Message("user", text)
        try {
            val answer = open.answer(messages) { piece -> later { show(piece) } }
            messages += Message("assistant", answer)
        } catch (error: IllegalStateException) {
            messages.removeAt(messages.size - 1)
            throw error
        } finally {
            later { answers(false) }
        }
    }

    /** Does something on the worker; what goes wrong there is shown. */
    private fun work(task: () -> Unit) = worker.execute {
        try {
            task()
        } catch (error: Exception) {
            later { show(getString(R.string.failed, error.message)) }
        }
    }

    private fun later(task: () -> Unit) = runOnUiThread { if (!isDestroyed) task() }

    // ---- on the thread of the user interface -----------------------------------------------------

    private fun ask() {
        val text = message.text.toString().trim()
        if (text.isEmpty()) return
        message.text.clear()
        show(getString(R.string.asked, text))
        answers(true)
        work { answer(text) }
    }

    private fun answers(now: Boolean) {
        answering = now
        send.setText(if (now) R.string.stop else R.string.send)
        if (!now) show("\n")
    }

    private fun show(text: String) {
        transcript.append(text)
        scroll.post { scroll.fullScroll(ScrollView.FOCUS_DOWN) }
        message.requestFocus()
    }
}
