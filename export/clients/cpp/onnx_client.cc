// Token ids to vectors with ONNX Runtime and nlohmann/json: onnx_client FOLDER NAME [EXPECTED]
//   g++ -std=c++17 -I ORT/include onnx_client.cc -L ORT/lib -lonnxruntime -o onnx_client
// The ids are those of expected.json; an application has them from its own tokenizer.
#include <onnxruntime_cxx_api.h>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

std::vector<float> embed(Ort::Session& session, std::vector<int64_t> ids) {
  const char* inputs[] = {"input_ids", "attention_mask", "token_type_ids"};
  const char* outputs[] = {"sentence_embedding"};
  std::vector<int64_t> mask(ids.size(), 1), types(ids.size(), 0), shape{1, int64_t(ids.size())};
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::vector<Ort::Value> feed;
  for (auto* row : {&ids, &mask, &types})
    feed.push_back(Ort::Value::CreateTensor<int64_t>(memory, row->data(), row->size(), shape.data(), 2));
  auto found = session.Run(Ort::RunOptions{}, inputs, feed.data(), 3, outputs, 1);
  auto* values = found[0].GetTensorData<float>();
  return {values, values + found[0].GetTensorTypeAndShapeInfo().GetElementCount()};
}

int main(int, char** argv) {
  std::string folder = argv[1], name = argv[2];
  auto expected = nlohmann::json::parse(std::ifstream(argv[3] ? argv[3] : folder + "/onnx/expected.json"));
  Ort::Env env;
  Ort::Session session(env, (folder + "/onnx/" + name).c_str(), Ort::SessionOptions{});
  double worst = 1;
  for (auto& row : expected["texts"]) {
    auto found = embed(session, row["ids"]);
    double cosine = 0;
    for (size_t i = 0; i < found.size(); ++i) cosine += found[i] * row["vector"][i].get<double>();
    worst = std::min(worst, cosine);
  }
  std::printf("worst cosine %.7f of %zu texts\n", worst, expected["texts"].size());
  return !(worst >= expected["artifacts"][name]["worst_cosine"]);
}
